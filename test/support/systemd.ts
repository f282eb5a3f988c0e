/** Checks units of systemd. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './documents.ts';

const units = ['pollywog.service', 'pollywog.socket'];

/** Lets systemd check our units with these sections added, as `systemctl edit` adds them. */
export function verifyUnits(folder: string, added: Readonly<Record<string, string>>): void {
  for (const unit of units) {
    const text = readFileSync(new URL(`src/install/${unit}`, root), 'utf8');
    const installed = text.replace('@PREFIX@/bin/pollywog', process.execPath);
    writeFileSync(join(folder, unit), `${installed}\n${added[unit] ?? ''}`);
  }
  const paths = units.map(unit => join(folder, unit));
  const { stdout, stderr, status } = spawnSync('systemd-analyze', ['verify', '--man=no', ...paths], {
    encoding: 'utf8',
  });
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
}
