/** `pollywog inspect`: the inspector over the control socket, and who else on this machine can reach it. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { get } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { type OpenServer, openServer, run } from '../support/commandWays.ts';
import { openInspector } from '../support/inspectorClient.ts';
import { serverScript } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

interface Answer {
  readonly status: number;
  readonly location: string;
  readonly body: string;
}

function fetchFrom(url: string | URL, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    get(url, { headers, agent: false }, async response => {
      const body = Buffer.concat((await response.toArray()) as Buffer[]).toString();
      resolve({ status: response.statusCode!, location: response.headers.location ?? '', body });
    }).on('error', reject);
  });
}

describe('pollywog inspect', () => {
  const ends: (() => Promise<void> | void)[] = [];
  let server: OpenServer;
  let child: ChildProcess;
  let link: URL;
  /** The target of the link: `/SECRET/inspect`. */
  let page: URL;

  before(async () => {
    // Without --inspect.
    server = await openServer({ after: hook => void ends.push(hook) });
    child = spawn(process.execPath, [serverScript, '--control', server.control, 'inspect'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    ends.push(() => void child.kill('SIGKILL'));
    for await (const line of createInterface(child.stdout!)) {
      if (!line.startsWith('http:')) continue;
      link = new URL(line);
      break;
    }
    const { status, location } = await fetchFrom(link);
    assert.equal(status, 303);
    page = new URL(location, link);
  });
  after(async () => {
    for (const end of ends.toReversed()) await end();
  });

  const own = () => ({ Host: link.host, Origin: link.origin });

  test('prints a link to the page that works once', async () => {
    assert.equal(link.hostname, '127.0.0.1');
    const { status, body } = await fetchFrom(page);
    assert.equal(status, 200);
    assert.match(body, /Inspector/);
    for (const [, file = ''] of body.matchAll(/(?:src|href)="(inspect\/[\w.]+)"/g))
      assert.equal((await fetchFrom(new URL(file, page))).status, 200, file);
    const again = await fetchFrom(link);
    assert.deepEqual([again.status, again.location], [403, '']);
    assert.match(again.body, /this link was used already/);
  });

  test('opens the inspector of a server without --inspect, with its workbench', async () => {
    const client = await openInspector(Number(page.port), { path: page.pathname, headers: own() });
    await client.next('welcome');
    client.send({ type: 'open', id: 1, path: '/echo', subprotocols: [], isCompressed: false });
    await client.next('opened');
    client.close();
    await client.closed;
    await assert.rejects(openInspector(server.port), /404 the inspector is off/);
  });

  test('refuses a rebound Host, other origins, and requests without the secret', async () => {
    const { port } = link;
    const evil = { Host: `evil.example:${port}` };
    assert.equal((await fetchFrom(page, evil)).status, 403);
    assert.equal((await fetchFrom(new URL('/', page))).status, 404);
    assert.equal((await fetchFrom(new URL('/inspect', page))).status, 404);
    assert.equal(
      (await fetchFrom(page, { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors' })).status,
      403,
    );
    const attempts: [headers: Readonly<Record<string, string>>, path: string][] = [
      [{ ...own(), Origin: 'https://evil.example' }, page.pathname],
      [{ ...own(), Origin: `http://localhost:${port}` }, page.pathname],
      [{ Host: `evil.example:${port}`, Origin: `http://evil.example:${port}` }, page.pathname],
      [own(), '/inspect'],
      [own(), `${link.pathname}/inspect`],
      [own(), page.pathname.replace(/\/.{5}/, '/AAAAA')],
    ];
    for (const [headers, path] of attempts)
      await assert.rejects(openInspector(Number(port), { headers, path }), /^Error: 40[34] /, path);
  });

  test('forwards no commands to the control socket', async () => {
    const secret = page.pathname.split('/')[1]!;
    for (const path of [
      '/api',
      '/api/list',
      '/inspect/../api',
      '/inspect/%2e%2e/api',
      '/inspect?x',
      '/echo',
    ]) {
      const { status } = await new Promise<{ status: number }>((resolve, reject) => {
        const { hostname, port, host } = page;
        get(
          { hostname, port, path: `/${secret}${path}`, headers: { Host: host }, agent: false },
          response => {
            response.resume();
            resolve({ status: response.statusCode! });
          },
        ).on('error', reject);
      });
      assert.equal(status, 404, path);
    }
    await assert.rejects(
      openInspector(Number(page.port), { headers: own(), path: `/${secret}/echo` }),
      /^Error: 404 /,
    );
  });

  test('answers HEAD, with which the page asks whether the server runs', async () => {
    assert.equal((await fetch(page, { method: 'HEAD' })).status, 200);
    assert.equal((await fetch(page, { method: 'POST' })).status, 405);
  });

  test('closes refused connections whose client keeps its side open', async () => {
    const sockets: Socket[] = [];
    for (let i = 0; i < 20; i++) {
      const socket = connect({ host: page.hostname, port: Number(page.port), allowHalfOpen: true });
      sockets.push(socket.resume());
      socket.write(
        `GET /x HTTP/1.1\r\nHost: ${page.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
      );
      await once(socket, 'end');
    }
    assert.equal((await fetchFrom(page)).status, 200);
    for (const socket of sockets) socket.destroy();
  });

  test('ends with Ctrl-C', async () => {
    child.kill('SIGINT');
    const [code] = await once(child, 'exit');
    assert.equal(code, 0);
  });
});

test('pollywog inspect without a server says so, and exits with 3', async () => {
  const { exit, stderr } = await run(['--control', join(temporaryFolder(), 'none.sock'), 'inspect']);
  assert.equal(exit, 3);
  assert.match(stderr, /no server is running at/);
});
