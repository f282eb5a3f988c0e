/** Wrong tokens are refused ever more slowly, cost the server little, and never lock out the owner of the right one. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { judgeGuess, newGuesses } from '../../src/access/guesses.ts';
import {
  freeGuesses,
  guessDelay,
  guessExpiry,
  maxDelayedGuesses,
  maxTrackedGuessers,
  totalDelayedGuesses,
  totalFreeGuesses,
} from '../../src/protocol/limits.ts';
import { openServer, secret } from '../support/commandWays.ts';
import { connectTcp, exchange } from '../support/rawClient.ts';

const limit = { timeout: 60_000 };

const request = (token: string, fields = '') =>
  `POST /api/info HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\n${fields}Content-Length: 0\r\n\r\n`;
const statusOf = (response: Buffer) => Number(response.toString('latin1').split(' ', 2)[1]);

test('an address gets its first refusals at once, later ones delayed, and then 429', () => {
  const guesses = newGuesses();
  const delays = (count: number, now: number, address = 'a') =>
    Array.from({ length: count }, () => judgeGuess(guesses, address, now).delay);
  assert.deepEqual(delays(freeGuesses, 1), Array(freeGuesses).fill(0));
  assert.deepEqual(delays(maxDelayedGuesses, 1), Array(maxDelayedGuesses).fill(guessDelay));
  assert.deepEqual(delays(3, guessDelay - 1), [undefined, undefined, undefined]);
  assert.deepEqual(delays(1, 1, 'b'), [0], 'another address is not affected');
  assert.deepEqual(delays(maxDelayedGuesses + 1, guessDelay + 1), [
    ...Array(maxDelayedGuesses).fill(guessDelay),
    undefined,
  ]);
  assert.deepEqual(
    delays(freeGuesses + 1, guessExpiry + 1),
    [...Array(freeGuesses).fill(0), guessDelay],
    'after a while it starts anew',
  );
});

test('all addresses together have a limit, too, and few records are kept', () => {
  const guesses = newGuesses();
  const verdicts = Array.from(
    { length: 5000 },
    (_, index) => judgeGuess(guesses, `address ${index}`, 1).delay,
  );
  assert.equal(verdicts.filter(delay => delay === 0).length, totalFreeGuesses);
  assert.equal(verdicts.filter(delay => delay === guessDelay).length, totalDelayedGuesses);
  assert.equal(guesses.byAddress.size, maxTrackedGuessers);
  judgeGuess(guesses, 'later', guessExpiry + 1);
  assert.equal(guesses.byAddress.size, 1, 'what is over is forgotten');
});

test('the log has one warning per address', () => {
  const guesses = newGuesses();
  const told = Array.from({ length: 100 }, () => judgeGuess(guesses, 'a', 1).isFirstDelayed);
  assert.deepEqual(told.filter(Boolean), [true]);
  assert.equal(told.indexOf(true), freeGuesses);
});

test(
  'during a guessing attack the right token is accepted at once, even from the same address',
  limit,
  async t => {
    const server = await openServer(t);
    const wrong = Array.from({ length: 60 }, (_, index) =>
      exchange(server.port, request(`${secret}${index}`)),
    );
    const counts = new Map<number, number>();
    const seen = wrong.map(async one => {
      const status = statusOf(await one);
      counts.set(status, (counts.get(status) ?? 0) + 1);
    });
    for (let round = 0; round < 5; round++)
      assert.equal(statusOf(await exchange(server.port, request(secret))), 200);
    await Promise.all(seen);
    assert.ok((counts.get(401) ?? 0) >= freeGuesses + maxDelayedGuesses, JSON.stringify([...counts]));
    assert.ok((counts.get(429) ?? 0) > 0, JSON.stringify([...counts]));
    assert.equal(counts.size, 2);
    const { address } = await server.untilLogged(({ event }) => event === 'wrong tokens');
    assert.equal(address, '127.0.0.1');
  },
);

test('a delayed refusal needs no body, and is sent when the server ends', limit, async t => {
  const server = await openServer(t);
  for (let count = 0; count < freeGuesses; count++) {
    assert.equal(statusOf(await exchange(server.port, request('wrong'))), 401);
  }
  // A body that was announced and never comes, one in chunks, and one with more than was announced.
  const bodies = [
    'Content-Length: 1000000000\r\n\r\n',
    'Transfer-Encoding: chunked\r\n\r\nffffff\r\nxxx',
    `Content-Length: 3\r\n\r\n${'x'.repeat(100_000)}`,
  ];
  const head = 'POST /api/stop HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer wrong\r\n';
  const answers = await Promise.all(bodies.map(body => exchange(server.port, head + body)));
  assert.deepEqual(answers.map(statusOf), [401, 401, 401]);
  // One whose client ends its direction, and one that is gone: neither holds up the end.
  const half = await connectTcp(server.port);
  half.end(request('wrong'));
  const gone = await connectTcp(server.port);
  gone.write(request('wrong'));
  const answered = once(half, 'data');
  assert.equal(statusOf(await exchange(server.port, request(secret))), 200);
  gone.resetAndDestroy();
  assert.equal(statusOf(await exchange(server.port, request(secret).replace('info', 'stop'))), 200);
  const [bytes] = await answered;
  assert.equal(statusOf(bytes), 401);
  half.destroy();
  assert.equal(await server.exited, 0);
});
