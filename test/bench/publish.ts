/**
 * The server's CPU time for a command over HTTP: node build/test/bench/publish.js [--requests N] [--rounds N]
 *
 * Clients publish by `POST /channels/NAME` or by the command, each on a connection that it keeps, and wait for the answer
 * before the next request. With one client every request has a turn of its own, which is the dearest case. The last row opens
 * a connection for each request.
 */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { connectKept } from '../support/keptClient.ts';
import { ask, requestBytes, type Sending } from '../support/pollClient.ts';
import { startServer } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { cpuSeconds } from './cost.ts';

const token = 'correct-horse.battery~staple_0123456789';
const command: Target = {
  path: '/api/publish',
  type: 'application/x-www-form-urlencoded',
  body: 'room=orders&text=order+17+is+paid',
};
const channel: Target = { path: '/channels/orders', type: 'text/plain', body: 'order 17 is paid' };

interface Target {
  readonly path: string;
  readonly type: string;
  readonly body: string;
}

/** Publishes `count` times. */
type Client = (port: number, target: Target, count: number) => Promise<void>;

function sendingOf({ type, body }: Target, persistence: 'close' | 'keep-alive'): Sending {
  const headers = { Connection: persistence, Authorization: `Bearer ${token}`, 'Content-Type': type };
  return { headers, body };
}

async function publishKept(port: number, target: Target, count: number): Promise<void> {
  const client = await connectKept(port);
  const request = requestBytes('POST', target.path, sendingOf(target, 'keep-alive'));
  for (let i = 0; i < count; i++) checkStatus((await client.ask(request)).status);
  client.socket.destroy();
}

async function publishAnew(port: number, target: Target, count: number): Promise<void> {
  const sending = sendingOf(target, 'close');
  for (let i = 0; i < count; i++) checkStatus((await ask(port, 'POST', target.path, sending)).status);
}

function checkStatus(status: number): void {
  if (status !== 200) throw new Error(`a publish was answered with ${status}`);
}

const rows: readonly [name: string, target: Target, clients: number, client: Client][] = [
  ['a channel, 1 client', channel, 1, publishKept],
  ['a channel, 16 clients', channel, 16, publishKept],
  ['the command, 1 client', command, 1, publishKept],
  ['the command, 16 clients', command, 16, publishKept],
  ['the command, 1 client, a connection for each request', command, 1, publishAnew],
];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      requests: { type: 'string', default: '16000' },
      rounds: { type: 'string', default: '3' },
    },
  });
  const tokenFile = join(temporaryFolder(), 'token');
  writeFileSync(tokenFile, `${token}\n`);
  chmodSync(tokenFile, 0o600);
  for (const [name, target, clients, client] of rows) {
    const costs: number[] = [];
    for (let round = 0; round < Number(values.rounds); round++) {
      const server = await startServer('--api-token', tokenFile);
      await client(server.port, target, 2000);
      const each = Math.ceil(Number(values.requests) / clients);
      const before = cpuSeconds(server.pid);
      await Promise.all(Array.from({ length: clients }, () => client(server.port, target, each)));
      costs.push(((cpuSeconds(server.pid) - before) * 1000) / (each * clients));
      await server.kill();
    }
    costs.sort((a, b) => a - b);
    console.log(
      `${name}: ${costs[costs.length >> 1]!.toFixed(3)} ms of CPU per publish, median of ${costs.length}`,
    );
  }
}

await main();
