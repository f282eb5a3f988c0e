/** `pollywog check` against broken configurations of proxies: it names each fault, and the line that it prints repairs it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type Finding, readCheckUrl, runCheck } from '../../src/check/check.ts';
import { type Fault, fixes } from '../../src/check/fixes.ts';
import { makeCertificate } from '../support/certificates.ts';
import { apache, type FrontProxy, haproxy, nginx, startProxy } from '../support/proxies.ts';
import { serverScript, startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

async function findings(url: string, silence = 0, token?: string, timeout = 2000): Promise<Finding[]> {
  const found: Finding[] = [];
  const settings = { token, silence, timeout, authorities: [] };
  for await (const finding of runCheck(readCheckUrl(url), settings)) found.push(finding);
  return found;
}

const wrongOnes = (found: readonly Finding[]) => found.filter(({ result }) => result === 'wrong');

interface Broken {
  readonly proxy: FrontProxy;
  readonly fault: Fault;
  /** The configuration with the broken line, or with the one that repairs it. */
  recipe(line: string): string;
  readonly broken: string;
  readonly path?: string;
  readonly server?: readonly string[];
  readonly silence?: number;
}

const passUpgrade = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";';
const inNginx = (lines: string) => `server { listen 80; location / { ${lines} } }`;
const toServer = 'proxy_pass http://127.0.0.1:8080;';
const inHaproxy = (backend: string, times: string) => `
defaults
  mode http
  timeout connect 5s
  ${times.split('\n').join('\n  ')}
frontend web
  bind :80
  default_backend pollywog
backend pollywog
  ${backend}
`;
const usualTimes = fixes.silence.HAProxy;
const inApache = (lines: string) => `<VirtualHost *:80>\n  ${lines}\n</VirtualHost>`;
const passApache = fixes.upgrade.Apache;

const cases: Readonly<Record<string, Broken>> = {
  'nginx removes Upgrade': {
    proxy: nginx,
    fault: 'upgrade',
    recipe: line => inNginx(`${toServer} ${line}`),
    broken: 'proxy_http_version 1.1;',
  },
  'nginx speaks HTTP/1.0 to the server': {
    proxy: nginx,
    fault: 'http10',
    recipe: line => inNginx(`${toServer} ${line}`),
    broken: passUpgrade,
  },
  'nginx buffers event streams': {
    proxy: nginx,
    fault: 'buffering',
    recipe: line => inNginx(`${toServer} ${fixes.upgrade.nginx} ${line}`),
    broken: 'proxy_ignore_headers X-Accel-Buffering; proxy_buffering on;',
  },
  'nginx cuts off silent connections': {
    proxy: nginx,
    fault: 'silence',
    recipe: line => inNginx(`${toServer} ${fixes.upgrade.nginx} ${line}`),
    broken: 'proxy_read_timeout 1s;',
    silence: 3000,
  },
  'nginx keeps the prefix of the path': {
    proxy: nginx,
    fault: 'path',
    recipe: line => `server { listen 80; ${fixes.upgrade.nginx}\n${line}\n}`,
    broken: 'location /chat/ { proxy_pass http://127.0.0.1:8080; }',
    path: '/chat/',
  },
  'nginx forwards to a port without a server': {
    proxy: nginx,
    fault: 'backend',
    recipe: line =>
      `server { listen 80; location / { ${fixes.upgrade.nginx} ${line} } location = /up { return 200; } }`,
    broken: 'proxy_pass http://127.0.0.1:1;',
  },
  'nginx replaces the Host, and --origin is same': {
    proxy: nginx,
    fault: 'host',
    recipe: line => inNginx(`${toServer} ${fixes.upgrade.nginx} ${line}`),
    broken: 'proxy_set_header Host elsewhere.example;',
    server: ['--origin', 'same'],
  },
  'HAProxy cuts off silent connections': {
    proxy: haproxy,
    fault: 'silence',
    recipe: line => inHaproxy('server pond 127.0.0.1:8080', line),
    broken: 'timeout client 1s\ntimeout server 1s\ntimeout tunnel 1s',
    silence: 3000,
  },
  'HAProxy forwards to a port without a server': {
    proxy: haproxy,
    fault: 'backend',
    recipe: line => inHaproxy(`http-request return status 200 if { path /up }\n  ${line}`, usualTimes),
    broken: 'server pond 127.0.0.1:1',
  },
  'Apache removes Upgrade': {
    proxy: apache,
    fault: 'upgrade',
    recipe: line => inApache(line),
    broken: 'ProxyPass / http://127.0.0.1:8080/',
  },
  'Apache replaces the Host, and --origin is same': {
    proxy: apache,
    fault: 'host',
    recipe: line => inApache(`${passApache}\n  ${line}`),
    broken: 'ProxyPreserveHost Off',
    server: ['--origin', 'same'],
  },
};

const nameOf = { nginx: 'nginx', apache: 'Apache', haproxy: 'HAProxy', caddy: 'Caddy' } as const;

describe('check names the fault of a proxy, and the line that it prints repairs it', () => {
  for (const [
    name,
    { proxy, fault, recipe, broken, path = '/', server: options = [], silence },
  ] of Object.entries(cases)) {
    test(name, async (t: TestContext) => {
      const server = await startServerFor(t, ...options);
      const probe = fault === 'backend' ? '/up' : '/healthz';
      const before = await startProxy(t, proxy, recipe(broken), server.port, probe);
      const faults = wrongOnes(await findings(`ws://127.0.0.1:${before}${path}`, silence));
      assert.equal(faults[0]?.fault, fault, JSON.stringify(faults));
      const line = fixes[fault][nameOf[proxy.name]];
      const after = await startProxy(t, proxy, recipe(line), server.port, probe);
      assert.deepEqual(wrongOnes(await findings(`ws://127.0.0.1:${after}${path}`, silence)), []);
    });
  }
});

/** A site whose nginx passes only this location on to Pollywog. */
const channelsOnly = (location: string) =>
  `server { listen 80; location ${location} { ${toServer} ${fixes.upgrade.nginx} } location = /up { return 200; } }`;

test('check tests the channels if the proxy passes on only those, also with the URL of a channel', async t => {
  const server = await startServerFor(t);
  const port = await startProxy(t, nginx, channelsOnly('/channels/'), server.port, '/up');
  for (const path of ['', '/channels', '/channels/orders']) {
    const found = await findings(`http://127.0.0.1:${port}${path}`);
    assert.deepEqual(wrongOnes(found), []);
    assert.ok(found.some(({ step, result }) => step === 'echo' && result === 'ok'));
    const { sentence } = found.find(({ step }) => step === 'library')!;
    assert.equal(sentence, 'the proxy does not pass on /pollywog.js, so pages cannot import it');
  }
  const whole = await startProxy(t, nginx, channelsOnly('~ ^/(channels|pollywog[.]js)'), server.port, '/up');
  assert.deepEqual(
    (await findings(`http://127.0.0.1:${whole}`)).filter(({ step }) => step === 'library'),
    [],
  );
});

test('check recognizes channels that refuse it by a rule or by its origin', async t => {
  const rules = await startServerFor(t, '--allow', '/channels/**: subscribe=nobody');
  const ruled = await startProxy(t, nginx, channelsOnly('/channels'), rules.port, '/up');
  const found = await findings(`http://127.0.0.1:${ruled}`);
  assert.deepEqual(wrongOnes(found), []);
  assert.match(found.find(({ step }) => step === 'echo')!.sentence, /closed the WebSocket with 44/);
  const origins = await startServerFor(t, '--origin', 'https://example.com');
  const other = await startProxy(t, nginx, channelsOnly('/channels'), origins.port, '/up');
  assert.equal(wrongOnes(await findings(`http://127.0.0.1:${other}`))[0]?.step, 'upgrade');
});

test('check names a certificate that browsers do not accept', async t => {
  const { cert, key } = makeCertificate('localhost');
  const server = await startServerFor(t, '--tls-cert', cert, '--tls-key', key);
  const faults = wrongOnes(await findings(`wss://127.0.0.1:${server.port}/`));
  assert.deepEqual(
    faults.map(({ step, fault }) => `${step} ${fault}`),
    ['certificate certificate'],
  );
});

test('check trusts the CA of --ca', async t => {
  const { cert, key } = makeCertificate('localhost', { names: ['localhost'] });
  const server = await startServerFor(t, '--tls-cert', cert, '--tls-key', key);
  const url = `https://localhost:${server.port}/`;
  const trusting = await runCommand(url, '--quick', '--ca', cert);
  assert.match(trusting.stdout, /^note {2}certificate the certificate expires in 1 day, on [\d-]+$/m);
  const usual = await runCommand(url, '--quick');
  assert.match(usual.stdout, /^WRONG certificate browsers refuse the certificate/m);
});

test('check says that a port does not speak TLS, and stops there', async t => {
  const server = await startServerFor(t);
  const found = await findings(`https://127.0.0.1:${server.port}/`);
  assert.deepEqual(found.at(-1), wrongOnes(found)[0]);
  assert.match(found.at(-1)!.sentence, /^the TLS handshake failed: [a-z\d ]+$/);
  const plain = createServer((_, response) => response.end());
  const foreign = await findings(`https://127.0.0.1:${await portOf(t, plain)}/`);
  assert.equal(foreign.at(-1)?.sentence, 'the port does not speak TLS; try http:// or another port');
});

test('check survives a server that closes without a code and answers without end', async t => {
  const server = createServer((request, response) => {
    if (request.url === '/healthz') return response.end('ok\n');
    const write = () => {
      while (response.write('x'.repeat(1000)));
    };
    response.on('drain', write);
    return write();
  });
  server.on('upgrade', (_, socket) => {
    socket.on('error', () => {});
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    socket.end(Buffer.from([0x88, 0]));
  });
  const hour = 3_600_000;
  const found = await findings(`http://127.0.0.1:${await portOf(t, server)}/`, hour, undefined, hour);
  const sentenceOf = (wanted: string) => found.find(({ step }) => step === wanted)?.sentence;
  assert.equal(sentenceOf('echo'), 'the server closed the WebSocket, so frames get through');
  assert.equal(sentenceOf('events'), 'the proxy holds back the events of a stream');
  assert.equal(sentenceOf('poll'), 'the poll got status 200');
  assert.match(sentenceOf('silence')!, /^the server closed the WebSocket after \d s$/);
});

async function portOf(t: TestContext, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

test('check publishes a message if it has a token, and sees it arrive', async t => {
  const token = 'correct-horse-battery';
  const file = join(temporaryFolder(), 'token');
  writeFileSync(file, token, { mode: 0o600 });
  const server = await startServerFor(t, '--publish-token', file);
  const url = `http://127.0.0.1:${server.port}`;
  const found = await findings(url, 0, token);
  assert.deepEqual(wrongOnes(found), []);
  assert.ok(found.some(({ step, result }) => step === 'publish' && result === 'ok'));
  const wrongToken = wrongOnes(await findings(url, 0, 'wrong-wrong-wrong'));
  assert.match(wrongToken[0]!.sentence, /not published: 401/);
});

test('check sends its token only to a server whose certificate is trusted', async t => {
  const token = 'correct-horse-battery';
  const file = join(temporaryFolder(), 'token');
  writeFileSync(file, token, { mode: 0o600 });
  const { cert, key } = makeCertificate('localhost', { names: ['localhost'] });
  const server = await startServerFor(t, '--publish-token', file, '--tls-cert', cert, '--tls-key', key);
  const url = `https://localhost:${server.port}/`;
  const trusting = await runCommand(url, '--quick', '--token', file, '--ca', cert);
  assert.match(trusting.stdout, /^ok {4}publish {5}a published message arrives$/m);
  const usual = await runCommand(url, '--quick', '--token', file);
  assert.match(usual.stdout, /^note {2}publish {5}the token was not sent, because anyone may have this/m);
  assert.match(usual.stdout, /^1 fault$/m);
});

test('check survives a proxy that cuts off the POST of a message', async t => {
  const streams: ServerResponse[] = [];
  const server = createServer((request, response) => {
    if (request.url === '/healthz') return response.end('ok\n');
    if (request.method === 'POST') {
      request.socket.destroy();
      // The stream ends after the error of the POST has arrived.
      setImmediate(() => setImmediate(() => streams.at(-1)?.end()));
      return undefined;
    }
    streams.push(response);
    response.setHeader('Content-Type', 'text/event-stream');
    return response.write(':\n\n');
  });
  const found = await findings(`http://127.0.0.1:${await portOf(t, server)}/`, 0, 'correct-horse-battery');
  const { sentence } = wrongOnes(found).find(({ step }) => step === 'connection')!;
  assert.match(sentence, /^the connection failed: /);
});

test('check escapes what another server sends for the terminal', async t => {
  const server = createServer((request, response) => {
    if (request.url === '/healthz') return response.end('ok\n');
    response.statusCode = 500;
    return response.end('\x1b[31mred\u202e\n');
  });
  const url = `http://127.0.0.1:${await portOf(t, server)}/`;
  const { stdout } = await runCommand(url, '--quick');
  assert.match(stdout, /status 500: \\u001b\[31mred\\u202e$/m);
  const { stdout: json } = await runCommand(url, '--quick', '--json');
  assert.match(json, /status 500: \\u001b\[31mred\\u202e"/);
});

async function runCommand(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [serverScript, 'check', ...words]);
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', text => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text;
  });
  const [code] = (await once(child, 'close')) as [number];
  return { code, stdout, stderr };
}

describe('the command line of check', () => {
  test('exits with 0 if everything works, 1 if something is wrong, and 2 for wrong usage', async t => {
    const server = await startServerFor(t);
    const good = await runCommand(`ws://127.0.0.1:${server.port}/`, '--quick');
    assert.deepEqual([good.code, good.stderr], [0, '']);
    assert.match(good.stdout, /^ok {4}upgrade .*\n(?:.*\n)*everything works\n$/m);
    await server.kill();
    const bad = await runCommand(`ws://127.0.0.1:${server.port}/`, '--quick', '--json');
    assert.equal(bad.code, 1);
    assert.match(bad.stdout, /"step":"tcp","result":"wrong","sentence":"no connection .*nothing listens/);
    assert.equal((await runCommand('localhost')).code, 2);
    assert.equal((await runCommand()).code, 2);
  });
});
