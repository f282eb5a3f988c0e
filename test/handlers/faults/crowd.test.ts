/** Clients that ask for the most expensive faults and read nothing. The server must keep its memory limit and serve others. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { roundTrip } from '../../support/echoProbe.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { MiB } from '../../support/processState.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { startServerFor } from '../../support/serverProcess.ts';
import { baselineOf, grownSince } from '../../support/untilBack.ts';
import { connectForFaults } from './faultClient.ts';

const greedy = [
  'bomb=1GB',
  new Array(16).fill('bomb=1048575B').join('&'),
  'huge-header=2MB',
  'ping-flood=100000',
  'endless-fragments=64KB',
  'late-invalid-utf8&double&swap',
  'drip=1ms',
  'stall',
  'delay=20h',
  'late-pong=20h',
];
const clientsEach = 5;

test('with greedy faults on many connections, the server keeps to --max-memory and serves other clients', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const options = ['--faults', '--max-memory', '32MB', '--max-per-address', '0', '--log-level', 'warn'];
  const server = await startServerFor(t, ...options);
  const baseline = await baselineOf(server);
  const queries = greedy.flatMap(query => new Array<string>(clientsEach).fill(query));
  const headers = { 'Sec-WebSocket-Extensions': 'permessage-deflate' };
  const clients = await Promise.all(
    queries.map(query => connectForFaults(server.port, `/faulty?after=0&${query}`, { headers })),
  );
  const burst = Buffer.concat(
    Array.from({ length: 500 }, (_, at) => frame(at % 2 === 0 ? opcode.text : opcode.ping, 'x'.repeat(100))),
  );
  let grown = 0;
  for (const { socket } of clients) socket.pause();
  for (let round = 0; round < 3; round++) {
    for (const { socket } of clients) socket.write(burst);
    for (let trip = 0; trip < 10; trip++) await roundTrip(baseline.probe);
    grown = Math.max(grown, grownSince(baseline));
  }
  t.diagnostic(`${clients.length} clients: ${(grown / MiB).toFixed(0)} MiB`);
  // --max-memory counts neither Node's heap nor freed memory.
  assert.ok(grown < 150 * MiB, `${grown}`);
  for (const client of clients) client.destroy();
  await roundTrip(baseline.probe);
  assert.deepEqual(
    server.logged().filter(({ level }) => level === 'error'),
    [],
  );
});
