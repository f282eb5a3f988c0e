/** The manual's recipes for proxies, run as they stand there but for the ports: the chat, through each of them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { connect as connectSecurely } from 'node:tls';
import { WebSocket } from 'ws';
import { makeCertificate, tlsOptions } from '../support/certificates.ts';
import { type ServerProcess, startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { newWorkshop, runShell, testExamples } from './examples.ts';

interface Proxy {
  readonly name: 'nginx' | 'caddy' | 'haproxy' | 'apache';
  /** What makes a whole configuration of the recipe. */
  frame(recipe: string, folder: string, port: number): string;
  command(file: string): string[];
}

const nginx: Proxy = {
  name: 'nginx',
  frame: (recipe, folder) => `
      daemon off; pid ${folder}/pid; error_log stderr; worker_processes 1; events {}
      http { access_log off; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
        fastcgi_temp_path ${folder}/fcgi; uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
        ${recipe} }`,
  command: file => ['/usr/sbin/nginx', '-c', file, '-e', 'stderr'],
};

const caddy: Proxy = {
  name: 'caddy',
  frame: recipe => `{\n  admin off\n  auto_https off\n}\n${recipe}`,
  command: file => ['/usr/bin/caddy', 'run', '--adapter', 'caddyfile', '--config', file],
};

const haproxy: Proxy = {
  name: 'haproxy',
  frame: recipe => recipe,
  command: file => ['/usr/sbin/haproxy', '-db', '-f', file],
};

const apache: Proxy = {
  name: 'apache',
  frame: (recipe, folder, port) => `
      ServerName localhost\nServerRoot ${folder}\nPidFile ${folder}/pid\nErrorLog ${folder}/log\nListen ${port}
      ${process.getuid?.() === 0 ? 'User www-data\nGroup www-data' : ''}
      ${['mpm_event', 'authz_core', 'proxy', 'proxy_http']
        .map(name => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`)
        .join('\n')}
      ${recipe}`,
  command: file => ['/usr/sbin/apache2', '-X', '-f', file],
};

/** One that was free a moment ago: these programs cannot be told to choose one. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** The recipe with other ports. */
function portedRecipe(recipe: string, port: number, serverPort: number): string {
  const ported = recipe.replaceAll('127.0.0.1:8080', `127.0.0.1:${serverPort}`);
  return ported.replace(/(listen |bind :|VirtualHost \*:|^:)80\b/, `$1${port}`);
}

/** Until a request gets through: Apache listens, reads its configuration again, and listens anew. */
async function untilServing(url: string, hasEnded: () => boolean, said: () => string): Promise<void> {
  for (;;) {
    if (hasEnded()) throw new Error(`the proxy ended: ${said()}`);
    const isServing = await fetch(url).then(
      ({ status }) => status < 500,
      () => false,
    );
    if (isServing) return;
  }
}

/** Says something by a WebSocket through the proxy, from an address of its own. */
async function echoThrough(
  port: number,
  from: string,
  { isSecure = false, path = '/echo' } = {},
): Promise<string> {
  const connectTo = isSecure
    ? () =>
        connectSecurely({ host: '127.0.0.1', port, localAddress: from, rejectUnauthorized: false } as object)
    : () => connect({ host: '127.0.0.1', port, localAddress: from });
  const client = new WebSocket(`${isSecure ? 'wss' : 'ws'}://127.0.0.1:${port}${path}`, {
    createConnection: connectTo as never,
    perMessageDeflate: false,
  });
  await once(client, 'open');
  client.send('ribbit');
  const [answer] = (await once(client, 'message')) as [Buffer];
  client.close();
  await once(client, 'close');
  return answer.toString();
}

/** Runs the proxy before a server: WebSockets, the page, and the address of the client. */
async function serveThrough(t: TestContext, proxy: Proxy, recipe: string): Promise<void> {
  const { name } = proxy;
  const { server, port } = await startBehind(t, proxy, recipe, '/healthz');
  assert.equal(await echoThrough(port, '127.0.0.2'), 'ribbit');
  const { address } = await server.untilLogged(({ event }) => event === 'opened');
  assert.match(String(address), name === 'haproxy' ? /^127\.0\.0\.2:\d+$/ : /^127\.0\.0\.2$/);
  const page = await fetch(`http://127.0.0.1:${port}/`);
  assert.equal(page.status, 200);
  assert.match(await page.text(), /^<!doctype html>/i);
  if (name === 'haproxy') assert.equal(await echoThrough(port, '127.0.0.3', { isSecure: true }), 'ribbit');
}

/** Starts a server and this proxy before it. @param probe a path that the proxy serves when it is ready */
async function startBehind(
  t: TestContext,
  { frame, command }: Proxy,
  recipe: string,
  probe: string,
): Promise<{ server: ServerProcess; port: number }> {
  const folder = temporaryFolder();
  const options = ['--trust-proxy', '127.0.0.1', '--log-level', 'debug'];
  const server = await startServerFor(t, ...options, ...tlsOptions(makeCertificate('localhost')));
  const port = await freePort();
  const file = join(folder, 'proxy.conf');
  writeFileSync(file, `${frame(portedRecipe(recipe, port, server.port), folder, port)}\n`);
  const [program = '', ...words] = command(file);
  const child = spawn(program, words, {
    env: { ...process.env, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const gone = once(child, 'close');
  let said = '';
  child.stderr.setEncoding('utf8').on('data', chunk => {
    said += chunk;
  });
  t.after(async () => {
    child.kill('SIGTERM');
    await gone;
  });
  await untilServing(
    `http://127.0.0.1:${port}${probe}`,
    () => child.exitCode !== null,
    () => said,
  );
  return { server, port };
}

testExamples('proxy', {
  'sh --trust-proxy': async (t, code) => {
    await runShell(t, newWorkshop(), code);
  },
  'nginx map': (t, code) => serveThrough(t, nginx, code),
  'nginx location /live': async (t, code) => {
    const recipe = `server {\n  listen 80;\n${code}}`;
    const { server, port } = await startBehind(t, nginx, recipe, '/api');
    assert.equal(await echoThrough(port, '127.0.0.2', { path: '/live' }), 'ribbit');
    assert.equal((await server.untilLogged(({ event }) => event === 'opened'))['address'], '127.0.0.2');
    assert.equal((await fetch(`http://127.0.0.1:${port}/api/list`, { method: 'POST' })).status, 403);
  },
  'caddy reverse_proxy': (t, code) => serveThrough(t, caddy, code),
  'haproxy frontend': (t, code) => serveThrough(t, haproxy, code),
  'apache VirtualHost': (t, code) => serveThrough(t, apache, code),
});
