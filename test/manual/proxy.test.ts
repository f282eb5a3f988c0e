/** The manual's recipes for proxies, run as they stand there but for the ports: the chat, through each of them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { TestContext } from 'node:test';
import { connect as connectSecurely } from 'node:tls';
import { WebSocket } from 'ws';
import { makeCertificate, tlsOptions } from '../support/certificates.ts';
import { apache, caddy, type FrontProxy, haproxy, nginx, startProxy } from '../support/proxies.ts';
import { type ServerProcess, startServerFor } from '../support/serverProcess.ts';
import { newWorkshop, runShell, testExamples } from './examples.ts';

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
async function serveThrough(t: TestContext, proxy: FrontProxy, recipe: string): Promise<void> {
  const { name } = proxy;
  const { server, port } = await startBehind(t, proxy, recipe, '/healthz');
  assert.equal(await echoThrough(port, '127.0.0.2'), 'ribbit');
  const { address } = await server.untilLogged(({ event }) => event === 'opened');
  assert.match(String(address), name === 'haproxy' ? /^127\.0\.0\.2:\d+$/ : /^127\.0\.0\.2$/);
  const page = await fetch(`http://127.0.0.1:${port}/`);
  assert.equal(page.status, 200);
  assert.match(await page.text(), /^<!doctype html>/i);
  if (name === 'haproxy') assert.equal(await echoThrough(port, '127.0.0.3', { isSecure: true }), 'ribbit');
  if (name === 'nginx')
    assert.equal((await fetch(`http://127.0.0.1:${port}/api/list`, { method: 'POST' })).status, 403);
}

/** Starts a server and this proxy before it. @param probe a path that the proxy serves when it is ready */
async function startBehind(
  t: TestContext,
  proxy: FrontProxy,
  recipe: string,
  probe: string,
): Promise<{ server: ServerProcess; port: number }> {
  const options = ['--trust-proxy', '127.0.0.1', '--log-level', 'debug'];
  const server = await startServerFor(t, ...options, ...tlsOptions(makeCertificate('localhost')));
  const port = await startProxy(t, proxy, recipe, server.port, probe);
  return { server, port };
}

testExamples('proxy', {
  'sh pollywog check': async (t, code) => {
    const printed = await runShell(t, newWorkshop(), `pollywog\n${code}`);
    assert.match(printed, /\neverything works\n$/);
  },

  'sh --trust-proxy': async (t, code) => {
    await runShell(t, newWorkshop(), code);
  },
  'nginx map': (t, code) => serveThrough(t, nginx, code),
  'nginx live': async (t, code) => {
    const recipe = `server {\n  listen 80;\n${code}}`;
    const { server, port } = await startBehind(t, nginx, recipe, '/pollywog.js');
    assert.equal(await echoThrough(port, '127.0.0.2', { path: '/live' }), 'ribbit');
    for (const path of ['/channels/shop/orders?last=0', '/pollywog.js'])
      assert.equal((await fetch(`http://127.0.0.1:${port}${path}`)).status, 200);
    assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 404);
    assert.equal((await server.untilLogged(({ event }) => event === 'opened'))['address'], '127.0.0.2');
  },
  'caddy reverse_proxy': (t, code) => serveThrough(t, caddy, code),
  'haproxy frontend': (t, code) => serveThrough(t, haproxy, code),
  'apache VirtualHost': (t, code) => serveThrough(t, apache, code),
});
