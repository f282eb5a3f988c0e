/** Plants a bug in a copy of dist/, and tests that server with the client. */
import { cpSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startServerWith } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import type { PlantedBug } from './plantedBugs.ts';
import { runReport } from './runReport.ts';

const checkout = fileURLToPath(new URL('../../../', import.meta.url));

/** The text of a file of dist/ with the bug. @throws Error unless `find` occurs exactly once */
export function withBug({ file, find, replace, does }: PlantedBug): string {
  const text = readFileSync(join(checkout, 'dist', file), 'utf8');
  const parts = text.split(find);
  if (parts.length !== 2) {
    throw new Error(`"${does}": the text to replace occurs ${parts.length - 1} times in ${file}`);
  }
  return parts.join(replace);
}

/** @returns the verdict of the case that should find the bug, and the observed answers */
export async function findBug(bug: PlantedBug): Promise<{ readonly verdict: string; readonly seen: string }> {
  const folder = temporaryFolder();
  try {
    cpSync(join(checkout, 'dist'), join(folder, 'dist'), { recursive: true });
    for (const name of ['package.json', 'node_modules'])
      symlinkSync(join(checkout, name), join(folder, name));
    writeFileSync(join(folder, 'dist', bug.file), withBug(bug));
    const options = ['-p', '0', '--host', '127.0.0.1', '--control', 'none', '--log-format', 'json'];
    const server = await startServerWith(options, { script: join(folder, 'dist/server.js') });
    try {
      return await runOneCase(server.port, bug.case);
    } finally {
      await server.kill();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function runOneCase(port: number, name: string) {
  const cases = await runReport(`ws://127.0.0.1:${port}/echo`, '--cases', name);
  const found = cases.find(each => each.name === name);
  if (found === undefined) throw new Error(`there is no case ${name}`);
  return found;
}
