/** Any first bytes: the connection gets an answer or ends at the deadline, and the server goes on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { skipUnlessLinux } from '../../support/linux.ts';
import { newRandom } from '../../support/random.ts';
import { connectTcp } from '../../support/rawClient.ts';
import { startServerFor } from '../../support/serverProcess.ts';
import { baselineOf, untilBack } from '../../support/untilBack.ts';

const options = ['--handshake-timeout', '1s', '--close-timeout', '300ms', '--log-level', 'warn'];

/** What the server sends to such a connection, until it ends the connection or asks for a nick. */
async function answerTo(port: number, pieces: readonly Buffer[]): Promise<string> {
  const socket = await connectTcp(port);
  socket.on('error', () => {});
  for (const piece of pieces) {
    socket.write(piece);
    await new Promise(setImmediate);
  }
  let answer = '';
  try {
    for await (const bytes of socket) {
      answer += (bytes as Buffer).toString('latin1');
      if (answer.includes('which nick do you want?\n')) break;
    }
  } catch (error) {
    answer += (error as NodeJS.ErrnoException).code;
  }
  socket.destroy();
  return answer;
}

function kindOf(answer: string): string {
  if (answer.startsWith('HTTP/1.1 ')) return answer.slice(0, 12);
  if (answer.startsWith('* this is Pollywog, a chat; which nick do you want?\n')) return 'lines';
  if (answer.startsWith('Ej8@')) return 'packets';
  if (answer === '\x15\x03\x01\x00\x02\x02\x28') return 'alert of TLS';
  return answer === '' ? 'ended' : `unknown: ${JSON.stringify(answer)}`;
}

test('every first byte followed by silence ends at a deadline', { timeout: 60_000 }, async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const server = await startServerFor(t, ...options);
  const baseline = await baselineOf(server);
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const answers = await Promise.all(bytes.map(byte => answerTo(server.port, [Buffer.of(byte)])));
  const kinds = answers.map(kindOf);
  // LF is a whole line; CR, E and letters may start several protocols and are answered after the deadline.
  assert.equal(kinds[0x0a], 'lines');
  for (const [byte, kind] of kinds.entries()) {
    if (byte !== 0x0a) assert.match(kind, /^HTTP\/1\.1 4\d\d$/, `byte ${byte}`);
  }
  assert.equal(kinds[0x45], 'HTTP/1.1 408');
  await untilBack(baseline);
});

test('each byte at the beginning of a line selects the right wire', { timeout: 60_000 }, async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const server = await startServerFor(t, ...options);
  const baseline = await baselineOf(server);
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const answers = await Promise.all(
    bytes.map(byte => answerTo(server.port, [Buffer.from([byte, 0x61, 0x0a])])),
  );
  for (const [byte, answer] of answers.entries()) {
    const isControl = (byte < 0x20 && byte !== 0x0a && byte !== 0x0d) || byte === 0x7f;
    assert.match(kindOf(answer), isControl ? /^HTTP\/1\.1 400$/ : /^lines$/, `byte ${byte}`);
  }
  await untilBack(baseline);
});

test('a truncated or broken first packet ends its connection', { timeout: 60_000 }, async t => {
  const { port } = await startServerFor(t, ...options);
  assert.match(kindOf(await answerTo(port, [Buffer.from('Ej8')])), /^HTTP\/1\.1 408$/);
  assert.equal(kindOf(await answerTo(port, [Buffer.from('Ej8'), Buffer.from('\n')])), 'lines');
  assert.equal(kindOf(await answerTo(port, [Buffer.from('Ej8@')])), 'packets');
  assert.equal(
    kindOf(await answerTo(port, [Buffer.from('Ej8'), Buffer.from('@'), Buffer.alloc(20)])),
    'packets',
  );
  assert.equal(
    kindOf(await answerTo(port, [Buffer.from('GET'), Buffer.from(' / HTTP/1.1\r\n')])),
    'HTTP/1.1 408',
  );
});

test('random first bytes in random pieces never hang beyond the deadline', { timeout: 60_000 }, async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const server = await startServerFor(t, ...options);
  const baseline = await baselineOf(server);
  const seed = Date.now() | 0;
  t.diagnostic(`seed ${seed}`);
  const random = newRandom(seed);
  const starts = [
    '',
    'Ej8@',
    'E',
    'GET ',
    'GET / HTTP/1.1\r\n',
    '\r\n',
    'nick\n',
    '\xff\xfb\x01',
    '\x16\x03\x01',
  ];
  const kinds = new Map<string, number>();
  for (let round = 0; round < 4; round++) {
    const inputs = Array.from({ length: 250 }, () => {
      const bytes = Buffer.concat([
        Buffer.from(random.pick(starts), 'latin1'),
        random.bytes(2 + random.below(39)),
        Buffer.from(random.pick(['', '\n', '\r\n\r\n']), 'latin1'),
      ]);
      const cut = random.below(bytes.length);
      return [bytes.subarray(0, cut), bytes.subarray(cut)];
    });
    for (const answer of await Promise.all(inputs.map(input => answerTo(server.port, input)))) {
      const kind = kindOf(answer);
      assert.match(kind, /^(HTTP\/1\.1 [45]\d\d|lines|packets|alert of TLS)$/, `seed ${seed}`);
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
  }
  t.diagnostic([...kinds].map(([kind, count]) => `${kind}: ${count}`).join(', '));
  await untilBack(baseline);
});
