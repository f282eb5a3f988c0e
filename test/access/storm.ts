/**
 * A storm of reconnects: the server is killed, and all clients come back to a new one that knows none of them:
 * node build/test/access/storm.js [--clients 5000] [--users 300]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { answerByCookie, startApp } from '../support/appServer.ts';
import { type Hooks, type ServerProcess, startServerWith } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import type { StormClients } from './stormClients.ts';

export interface StormReport {
  /** The number of requests to the app in the storm, by user and URI. */
  readonly asked: ReadonlyMap<string, number>;
  /** The most requests that were open at once. */
  readonly mostAtOnce: number;
  /** Clients that received a message after the storm. */
  readonly back: number;
  /** Handshakes that the server refused in the storm. */
  readonly refused: number;
  /** Seconds from the start of the server until all were back. */
  readonly seconds: number;
}

const token = 'a-token-of-the-storm-test';

export async function runStorm(test: Hooks, clients: number, users: number): Promise<StormReport> {
  const tokenFile = join(temporaryFolder(), 'token');
  writeFileSync(tokenFile, token, { mode: 0o600 });
  // A slow app, so questions wait.
  const app = await startApp(test, (request, response) => {
    setTimeout(answerByCookie, 5, request, response);
  });
  const options = (port: number) => [
    ...[
      '-p',
      String(port),
      '--host',
      '127.0.0.1',
      '--control',
      'none',
      '--log-format',
      'json',
      '--config',
      'none',
    ],
    ...['--auth-url', app.url, '--auth-cookie', 'sid', '--auth-cache', '10m', '--max-per-address', '0'],
    ...['--allow', '/channels/user-{user}: subscribe=user', '--allow', '/channels/news: subscribe=user'],
    ...['--rooms', 'none', '--publish-token', tokenFile, '--log-level', 'warn', '--handshake-timeout', '2m'],
  ];
  const first = await startServerWith(options(0), { test });
  const script = fileURLToPath(new URL('stormClients.js', import.meta.url));
  const child = fork(script, [first.port, clients, users].map(String));
  test.after(() => void child.kill('SIGKILL'));
  let seen: StormClients = { open: 0, heard: 0, refused: 0 };
  child.on('message', message => {
    seen = message as StormClients;
  });
  const until = async (isReached: () => boolean) => {
    while (!isReached()) await once(child, 'message');
  };

  await until(() => seen.open === clients);
  await publishToAll(first, users, 'everyone is back');
  await until(() => seen.heard === clients);
  await first.kill();
  await until(() => seen.open === 0);
  const before = app.requests.length;
  const refusedBefore = seen.refused;
  const since = performance.now();
  const second = await startServerWith(options(first.port), { test });
  await until(() => seen.open === clients);
  const seconds = (performance.now() - since) / 1000;
  await publishToAll(second, users, 'everyone is back');
  await until(() => seen.heard === clients);

  const asked = new Map<string, number>();
  for (const { headers } of app.requests.slice(before)) {
    const key = `${headers.cookie} ${headers['x-original-uri']}`;
    asked.set(key, (asked.get(key) ?? 0) + 1);
  }
  const { heard: back, refused } = seen;
  return { asked, mostAtOnce: app.mostAtOnce(), back, refused: refused - refusedBefore, seconds };
}

async function publishToAll({ port }: ServerProcess, users: number, body: string): Promise<void> {
  const headers = { Authorization: `Bearer ${token}` };
  const channels = ['news', ...Array.from({ length: users }, (_, user) => `user-${user}`)];
  for (const channel of channels) {
    const { status } = await fetch(`http://127.0.0.1:${port}/channels/${channel}`, {
      method: 'POST',
      headers,
      body,
    });
    if (status !== 200) throw new Error(`publishing in ${channel} was answered with ${status}`);
  }
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      clients: { type: 'string', default: '5000' },
      users: { type: 'string', default: '300' },
    },
  });
  const hooks: (() => void | Promise<void>)[] = [];
  const { asked, mostAtOnce, back, refused, seconds } = await runStorm(
    { after: hook => void hooks.push(hook) },
    Number(values.clients),
    Number(values.users),
  );
  for (const hook of hooks) await hook();
  const most = Math.max(...asked.values());
  console.log(
    `${back} clients of ${values.users} users are back after ${seconds.toFixed(1)} s; ${refused} refusals; ` +
      `the app had ${asked.size} questions, each ${most} times at most, and ${mostAtOnce} at once at most`,
  );
  process.exit(most === 1 && mostAtOnce <= 20 && back === Number(values.clients) ? 0 : 1);
}
