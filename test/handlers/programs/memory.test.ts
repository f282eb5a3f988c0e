/** Unread input of programs counts against --max-memory, and is bounded for shared programs. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { roundTrip, untilStill } from '../../support/echoProbe.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { MiB, residentMemory } from '../../support/processState.ts';
import { connectRaw, type RawClient } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { startServerFor } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';
import { untilLogged } from '../../support/untilLogged.ts';
import { quoteWords, untilSo } from './programs.ts';

const folder = temporaryFolder();
const sleeper = (then: string) =>
  quoteWords('sh', '-c', `while [ ! -e ${join(folder, 'go')} ]; do sleep 0.05; done; ${then}`);

test('long messages of many clients wait in their connections, not in the stdin of a shared program', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const server = await startServerFor(
    t,
    '--exec-shared',
    `x:length=${sleeper('exec cat')}`,
    '--max-memory',
    '64MB',
  );
  const probe = await connectRaw(server.port, { path: '/echo' });
  await roundTrip(probe);
  const before = residentMemory(server.pid);
  const clients: RawClient[] = [];
  for (let i = 0; i < 16; i++) clients.push(await connectRaw(server.port, { path: '/x' }));
  for (const [i, client] of clients.entries()) client.send(frame(opcode.binary, Buffer.alloc(8 * MiB, i)));
  await untilStill(probe, () => clients.reduce((sum, { socket }) => sum + socket.writableLength, 0));
  const grown = residentMemory(server.pid) - before;
  t.diagnostic(`memory grew by ${(grown / MiB).toFixed(1)} MiB`);
  assert.ok(grown < 1.25 * 64 * MiB + 128 * MiB, `its memory grew by ${grown} bytes`);
  await untilSo(() => server.logged().some(({ event }) => event === 'closed to free memory'));

  writeFileSync(join(folder, 'go'), '');
  // Some were closed to save memory; all others get their own message back, whole.
  let whole = 0;
  for (const [i, client] of clients.entries()) {
    const answer = await client.nextFrame();
    if (answer?.opcode !== opcode.binary) continue;
    assert.ok(answer.payload.equals(Buffer.alloc(8 * MiB, i)));
    whole++;
  }
  assert.ok(whole > 0);
  for (const client of [...clients, probe]) client.destroy();
});

test('closing a client to save memory frees its program’s unread input at once', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const script = quoteWords('sh', '-c', 'exec sleep 1000');
  const options = ['--exec', `x=${script}`, '--max-memory', '16MB', '--exec-grace', '60s'];
  const server = await startServerFor(t, ...options);
  const probe = await connectRaw(server.port, { path: '/echo' });
  await roundTrip(probe);
  const before = residentMemory(server.pid);
  for (let i = 0; i < 30; i++) {
    const client = await connectRaw(server.port, { path: '/x' });
    client.send(frame(opcode.text, 'x'.repeat(12 * MiB)));
    // The first one waits alone, within the budget; each further one exceeds it.
    if (i > 0) await untilLogged(server, 'closed to free memory', i);
    t.after(() => client.destroy());
  }
  await roundTrip(probe);
  const grown = residentMemory(server.pid) - before;
  t.diagnostic(`memory grew by ${(grown / MiB).toFixed(1)} MiB`);
  assert.ok(grown < 200 * MiB, `its memory grew by ${grown} bytes, of 360 MiB that were sent`);
  probe.destroy();
});
