/**
 * Ten thousand connections with random first bytes: the server ends each, serves all others, and leaks nothing. These
 * tests take longest in this folder, and mostly wait. Files run in the order of their names, so this early one runs beside others.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { makeCertificate, tlsOptions } from '../support/certificates.ts';
import { roundTrip } from '../support/echoProbe.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { MiB, residentMemory } from '../support/processState.ts';
import { goodHeaders, proxySignature } from '../support/proxyHeaders.ts';
import { newRandom, type Random } from '../support/random.ts';
import {
  connectRaw,
  connectTcp,
  connectTls,
  handshakeRequest,
  type RawClient,
} from '../support/rawClient.ts';
import { type ServerProcess, startServerWith } from '../support/serverProcess.ts';
import { baselineOf, untilBack } from '../support/untilBack.ts';

const limit = { timeout: 280_000 };
const total = 10_000;
const atOnce = 1000;
const identity = makeCertificate('localhost');
/** The examples: this file runs from build/test/wires/. */
const examples = fileURLToPath(new URL('../../../test/examples', import.meta.url));

const options = [
  ...['-p', '0', '--host', '127.0.0.1', '--control', 'none', '--log-format', 'json'],
  ...['--handlers', examples, '--exec', 'cat=cat', '--trust-proxy', '127.0.0.1', ...tlsOptions(identity)],
  // Terminals and FTP users have a minute to log in, so --idle-timeout ends them first.
  ...['--greeting-delay', '700ms', '--handshake-timeout', '2s', '--idle-timeout', '3s'],
  ...['--close-timeout', '300ms', '--keep-alive', '300ms', '--log-level', 'error'],
];

/** The first bytes of each protocol. */
const starts: readonly Buffer[] = [
  ...[
    'Ej8@',
    'GET ',
    'GET / HTTP/1.1\r\n',
    'POST /poll/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n',
    'USER ',
    'USER ada\r\n',
  ],
  ...[
    'PROXY ',
    'PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n',
    '\r\n',
    'nick\n',
    '\xff\xfb\x01',
    handshakeRequest(),
  ],
  ...['\x16\x03', '\x16\x03\x01', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
].map(text => Buffer.from(text, 'latin1'));

const headers = goodHeaders.map(([, header]) => header);
const ends = ['', '', '\n', '\r\n', '\r\n\r\n'].map(text => Buffer.from(text));

/** 1 to 64 random bytes, or a nearly valid start. */
function randomStart(random: Random): Buffer {
  if (random.oneIn(3)) return random.bytes(1 + random.below(64));
  const pieces = [
    random.pick([...starts, proxySignature]),
    random.bytes(random.below(40)),
    random.pick(ends),
  ];
  if (random.oneIn(6)) pieces.unshift(random.pick(headers));
  const bytes = Buffer.concat(pieces);
  for (let left = random.below(4); left > 0; left--) bytes[random.below(bytes.length)] = random.below(256);
  return random.oneIn(5) ? bytes.subarray(0, 1 + random.below(bytes.length)) : bytes;
}

/** Sends the bytes in two pieces, and waits until the server has ended its direction. @returns the answer, and how the connection ended */
async function answerTo(port: number, random: Random): Promise<string> {
  const bytes = randomStart(random);
  const cut = random.below(bytes.length);
  const [isInTls, isEnded] = [random.oneIn(40), random.oneIn(5)];
  const socket = await (isInTls ? connectTls(port).catch(() => undefined) : connectTcp(port));
  if (socket === undefined) return 'too late for TLS';
  let answer = '';
  const ended = new Promise<string>(resolve => {
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on('end', () => resolve(''));
    socket.on('close', () => resolve('closed'));
    socket.on('data', chunk => {
      answer += chunk.toString('latin1');
    });
  });
  socket.write(bytes.subarray(0, cut));
  await new Promise(setImmediate);
  socket.write(bytes.subarray(cut));
  if (isEnded) socket.end();
  const how = await ended;
  socket.destroy();
  return kindOf(answer) ?? `${how || 'FIN'} after ${JSON.stringify(answer)} to ${bytes.toString('hex')}`;
}

const kinds: readonly (readonly [string, RegExp])[] = [
  ['too late for TLS', /^(?!)/],
  ['nothing', /^$/],
  ['HTTP 101', /^HTTP\/1\.1 101 /],
  ['HTTP 20x', /^HTTP\/1\.1 20\d /],
  ['HTTP 4xx, 505', /^HTTP\/1\.1 (?:4\d\d|50[15]) /],
  ['packets', /^Ej8@/],
  ['lines', /^\* this is Pollywog/],
  ['FTP, greeted', /^220 pollywog\r\n/],
  ['FTP, by its first bytes', /^(?:331|421|502) /],
  ['alert of TLS', /^\x15\x03/],
];

/** Undefined for an unexpected answer. */
function kindOf(answer: string): string | undefined {
  return kinds.find(([, form]) => form.test(answer))?.[0];
}

/** Sends random starts, `atOnce` at a time. @returns the number of answers of each kind */
async function assail({ port }: ServerProcess, random: Random, count: number): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  let begun = 0;
  const one = async () => {
    while (begun++ < count) {
      const kind = await answerTo(port, random);
      found.set(kind, (found.get(kind) ?? 0) + 1);
    }
  };
  const all: Promise<void>[] = [];
  // Not all in one go: a hello of TLS that comes late is too late.
  for (let at = 0; at < atOnce; at++) {
    all.push(one());
    await new Promise(setImmediate);
  }
  await Promise.all(all);
  return found;
}

/** Echoes while `goesOn`, with pauses: a busy client would take a processor from the others. @returns the number of echoes */
async function echoWhile(client: RawClient, goesOn: () => boolean): Promise<number> {
  let rounds = 0;
  for (; goesOn(); rounds++) {
    await roundTrip(client, `round ${rounds}`);
    await setTimeout(5);
  }
  return rounds;
}

for (const sockets of ['auto', 'stream']) {
  describe(`random starts, --sockets ${sockets}`, limit, () => {
    test(`${total} do not crash the server, which ends each of them`, limit, async t => {
      if (skipUnlessLinux(t, '/proc')) return;
      // What V8 lets young objects take grows with the load, and would hide what is kept.
      const environment = { ...process.env, NODE_OPTIONS: '--max-semi-space-size=1' };
      const server = await startServerWith([...options, '--sockets', sockets], { test: t, environment });
      const seed = Date.now() | 0;
      t.diagnostic(`seed ${seed}`);
      const random = newRandom(seed);
      const inTls = await connectRaw(server.port, { path: '/echo', tls: {} });
      const baseline = await baselineOf(server);
      /** Sends half of the starts while others are served, and checks that no connection remains. */
      const assailHalf = async () => {
        let isOver = false;
        const echoing = [baseline.probe, inTls].map(client => echoWhile(client, () => !isOver));
        const found = await assail(server, random, total / 2);
        isOver = true;
        const rounds = await Promise.all(echoing);
        await untilBack(baseline);
        for (const kind of found) t.diagnostic(kind.join(': '));
        t.diagnostic(`${rounds.join(' and ')} echoes meanwhile`);
        assert.ok(rounds.every(count => count > 100));
        const unknown = [...found.keys()].filter(kind => !kinds.some(([name]) => name === kind));
        assert.deepEqual(unknown, [], `seed ${seed}`);
        assert.equal(
          [...found.values()].reduce((sum, count) => sum + count),
          total / 2,
        );
      };
      await assailHalf();
      // What they leave to the allocators is used again by the other half.
      const memory = residentMemory(server.pid);
      await assailHalf();
      const grown = residentMemory(server.pid) - memory;
      t.diagnostic(`memory grew by ${(grown / MiB).toFixed(1)} MiB`);
      assert.ok(grown < 32 * MiB, `${grown} bytes more`);
      inTls.destroy();
    });
  });
}
