/** The module in a server in this process, as a client sees it. `make build`, then `node --test test/examples/checkers/test`. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { listen } from 'pollywog';
import { connect } from 'pollywog/client';
import checkers, { limits } from '../handlers/checkers.mjs';
import { recordOf } from '../public/record.mjs';
import { randomMoves, shortGame } from './games.mjs';

/** @import { TestServer } from 'pollywog' */

/** Milliseconds to wait for a message; no measure of speed. */
const patience = 20_000;

const keys = { ada: 'a'.repeat(22), bob: 'b'.repeat(22), eve: 'e'.repeat(22) };

/** A client that speaks the module's messages. @param {TestServer} server */
async function visit(server) {
  const client = await connect(`${server.url}/checkers`);
  return {
    client,
    /** @param {object | string | Uint8Array} request */
    send: request =>
      client.send(
        typeof request === 'string' || request instanceof Uint8Array ? request : JSON.stringify(request),
      ),
    /** The next message that fits; others are skipped. @param {(message: any) => boolean} fits @returns {Promise<any>} */
    async until(fits) {
      const giveUp = setTimeout(() => client.destroy(), patience);
      try {
        for await (const text of client) {
          const message = JSON.parse(String(text));
          if (fits(message)) return message;
        }
        throw new Error(`no message such that ${fits}; closed with ${JSON.stringify(await client.closed)}`);
      } finally {
        clearTimeout(giveUp);
      }
    },
    /** @param {number} length @returns the table with so many moves */
    table(length) {
      return this.until(({ type, moves }) => type === 'table' && moves.length === length);
    },
    /** Sends a request that must be refused. @param {object | string | Uint8Array} request @returns {Promise<string>} why */
    async refused(request) {
      await this.send(request);
      return (await this.until(({ type }) => type === 'refused')).why;
    },
  };
}

/** @typedef {Awaited<ReturnType<typeof visit>>} Visitor */

/** Red's client and White's, at a new table. @param {TestServer} server */
async function begin(server) {
  const red = await visit(server);
  await red.send({ type: 'create', side: 'red', key: keys.ada });
  const { id, spectators } = await red.table(0);
  assert.equal(spectators, 0);
  const white = await enter(server, id, keys.bob);
  await white.send({ type: 'sit', side: 'white' });
  for (const one of [red, white]) await one.until(({ type, seats }) => type === 'table' && seats.white);
  return { id, red, white };
}

/** @param {TestServer} server @param {string} id @param {string} key */
async function enter(server, id, key) {
  const visitor = await visit(server);
  await visitor.send({ type: 'enter', id, key });
  return visitor;
}

/** Plays these moves, and waits until both have seen each. @param {Visitor} red @param {Visitor} white @param {readonly string[]} moves @param {number} [from] */
async function play(red, white, moves, from = 0) {
  for (const [at, move] of moves.entries()) {
    const ply = from + at;
    await (ply % 2 === 0 ? red : white).send({ type: 'move', ply, move });
    for (const one of [red, white]) await one.table(ply + 1);
  }
}

/** The events in the channel of a table. @param {TestServer} server @param {string} id @returns {Promise<any[]>} */
async function history(server, id) {
  const { messages } = await (
    await fetch(`${server.url.replace('ws', 'http')}/channels/checkers/${id}?last=1000`)
  ).json();
  return messages.map((/** @type {any} */ { data }) => data);
}

describe('a table', () => {
  /** @type {TestServer} */
  let server;
  const usual = { ...limits };
  beforeEach(async () => {
    server ??= await listen({ handlers: { checkers }, rooms: ['none'] });
    await server.reset();
  });
  afterEach(() => Object.assign(limits, usual));
  after(() => server.close());

  test('is created by a player, joined by another, and shown to both after each move', async () => {
    const { red, white } = await begin(server);
    await red.send({ type: 'move', ply: 0, move: '11-15' });
    const seen = await white.table(1);
    assert.deepEqual(seen.moves, ['11-15']);
    assert.deepEqual([seen.seats, seen.offer, seen.end], [{ red: true, white: true }, null, null]);
    assert.deepEqual((await red.table(1)).moves, ['11-15']);
  });

  test('tells each client which sides it plays', async () => {
    const { id, white } = await begin(server);
    assert.deepEqual(await white.until(({ type }) => type === 'you'), { type: 'you', sides: ['white'] });
    const second = await enter(server, id, keys.bob);
    assert.deepEqual((await second.until(({ type }) => type === 'you')).sides, ['white'], 'a second tab');
    const watcher = await enter(server, id, keys.eve);
    assert.deepEqual((await watcher.until(({ type }) => type === 'you')).sides, []);
  });

  test('ends by the rules, and then accepts no move', async () => {
    const { red, white } = await begin(server);
    await play(red, white, shortGame.slice(0, -1));
    const ply = shortGame.length - 1;
    await red.send({ type: 'move', ply, move: shortGame.at(-1) });
    assert.deepEqual((await white.table(ply + 1)).end, { winner: 'red', why: 'white has no pieces left' });
    assert.match(await red.refused({ type: 'move', ply: ply + 1, move: '1-5' }), /^the game is over: /);
    assert.match(await red.refused({ type: 'resign' }), /^the game is over: /);
  });

  test('ends when a player resigns', async () => {
    const { red, white } = await begin(server);
    await white.send({ type: 'resign' });
    const { end } = await red.until(({ type, end: one }) => type === 'table' && one !== null);
    assert.deepEqual(end, { winner: 'red', why: 'white resigned' });
  });

  test('ends in a draw if the opponent accepts an offer; a move of the opponent declines it', async () => {
    const { red, white } = await begin(server);
    await red.send({ type: 'offer' });
    await white.until(({ offer }) => offer === 'red');
    assert.equal(await red.refused({ type: 'accept' }), 'your opponent offers no draw');
    assert.equal(await red.refused({ type: 'offer' }), 'red has offered a draw already');
    await white.send({ type: 'decline' });
    await red.until(({ type, offer }) => type === 'table' && offer === null);
    assert.equal(await red.refused({ type: 'offer' }), 'one offer is enough; make a move first');
    await play(red, white, ['11-15', '22-18']);
    await white.send({ type: 'offer' });
    await red.until(({ offer }) => offer === 'white');
    await red.send({ type: 'move', ply: 2, move: '15x22' });
    assert.equal((await white.table(3)).offer, null, 'a move declines');
    await red.send({ type: 'offer' });
    await white.until(({ offer }) => offer === 'red');
    await white.send({ type: 'move', ply: 3, move: '25x18' });
    await white.table(4);
    await red.table(4);
    await white.send({ type: 'offer' });
    await red.until(({ offer }) => offer === 'white');
    await red.send({ type: 'accept' });
    const { end } = await white.until(({ type, end: one }) => type === 'table' && one !== null);
    assert.deepEqual(end, { winner: null, why: 'the players agreed to a draw' });
  });

  test('has spectators, who see each move and may not move', async () => {
    const { id, red, white } = await begin(server);
    const watcher = await enter(server, id, keys.eve);
    assert.equal((await red.until(({ spectators }) => spectators === 1)).spectators, 1);
    await play(red, white, ['11-15']);
    assert.deepEqual((await watcher.table(1)).moves, ['11-15']);
    for (const request of [{ type: 'move', ply: 1, move: '22-18' }, { type: 'resign' }, { type: 'offer' }])
      assert.equal(await watcher.refused(request), 'you watch this game');
    await watcher.client.close();
    await red.until(({ type, spectators }) => type === 'table' && spectators === 0);
  });

  test('shows when a player disconnects, and when it reconnects', async () => {
    const { id, red, white } = await begin(server);
    white.client.destroy();
    await red.until(({ present }) => present?.white === false);
    await enter(server, id, keys.bob);
    await red.until(({ present }) => present?.white === true);
  });

  test('lets one browser play both sides', async () => {
    const alone = await visit(server);
    await alone.send({ type: 'create', side: 'white', key: keys.ada });
    await alone.table(0);
    await alone.send({ type: 'sit', side: 'red' });
    await alone.until(({ type, sides }) => type === 'you' && sides.length === 2);
    await play(alone, { ...alone, table: async () => {} }, ['11-15', '22-18']);
    await alone.send({ type: 'offer' });
    await alone.send({ type: 'accept' });
    assert.equal((await alone.until(({ end }) => end)).end.why, 'the players agreed to a draw');
  });

  test('gives a seat to one of two players who sit down at the same moment', async () => {
    const red = await visit(server);
    await red.send({ type: 'create', side: 'red', key: keys.ada });
    const { id } = await red.table(0);
    const rivals = [await enter(server, id, keys.bob), await enter(server, id, keys.eve)];
    for (const one of rivals) await one.table(0);
    await Promise.all(rivals.map(one => one.send({ type: 'sit', side: 'white' })));
    const outcomes = await Promise.all(
      rivals.map(one => one.until(({ type, sides }) => type === 'refused' || sides?.length === 1)),
    );
    assert.deepEqual(outcomes.map(({ type }) => type).sort(), ['refused', 'you']);
  });

  test('accepts one of two moves from two tabs of a player, and a repeated move once', async () => {
    const { id, red, white } = await begin(server);
    const tab = await enter(server, id, keys.ada);
    await tab.table(0);
    await Promise.all([
      red.send({ type: 'move', ply: 0, move: '11-15' }),
      tab.send({ type: 'move', ply: 0, move: '9-13' }),
    ]);
    const { moves } = await white.table(1);
    const mover = moves[0] === '11-15' ? red : tab;
    await mover.table(1);
    await mover.send({ type: 'move', ply: 0, move: moves[0] });
    // The table, as the answer to the repeated move, comes before the refusal of this request.
    await mover.send({ type: 'accept' });
    const answers = [await mover.until(() => true), await mover.until(({ type }) => type === 'refused')];
    assert.deepEqual([answers[0].type, answers[1].why], ['table', 'your opponent offers no draw']);
    await play(red, white, ['22-18'], 1);
    assert.equal((await history(server, id)).filter(({ type }) => type === 'move').length, 2);
  });

  test('has its record in a channel, without the keys of the players', async () => {
    const { id, red, white } = await begin(server);
    await play(red, white, ['11-15', '22-18', '15x22']);
    await white.send({ type: 'resign' });
    await red.until(({ end }) => end);
    const events = await history(server, id);
    assert.deepEqual(
      events.map(({ n, type, move }) => [n, move ?? type]),
      [
        [0, 'game'],
        [1, 'seat'],
        [2, 'game'],
        [3, '11-15'],
        [4, '22-18'],
        [5, '15x22'],
        [6, 'end'],
      ],
    );
    const hash = createHash('sha256').update(`${id}:${keys.ada}`).digest('base64url');
    assert.equal(events[0].seats.red, hash);
    assert.ok(!JSON.stringify(events).includes(keys.ada));
    assert.equal(recordOf(events)?.end?.why, 'white resigned');
  });

  test('is rebuilt from its channel after it left the memory, even if the first events are gone', async () => {
    limits.idle = 0;
    const { id, red, white } = await begin(server);
    const moves = randomMoves(70);
    await play(red, white, moves);
    const kept = await history(server, id);
    assert.ok(kept.length < 100 && kept.filter(({ type }) => type === 'game').length >= 3);
    assert.deepEqual(recordOf(kept.slice(-40))?.game.moves, moves, 'the newest 40 events are enough');
    await forget([red, white]);
    const back = await enter(server, id, keys.ada);
    assert.deepEqual((await back.until(({ type }) => type === 'you')).sides, ['red']);
    assert.deepEqual((await back.table(moves.length)).moves, moves);
  });

  test('ignores messages that others publish in its channel', async () => {
    limits.idle = 0;
    const { id, red, white } = await begin(server);
    await play(red, white, ['11-15']);
    for (const text of [
      '{"n":4,"type":"move","ply":1,"move":"1-2"}',
      '"hello"',
      'null',
      '{"n":4,"type":"x"}',
    ])
      await server.commands.publish(`checkers/${id}`, text, { as: 'json' });
    await server.commands.publish(`checkers/${id}`, '{"n":4,"type":"move","ply":1,"move":"22-18"}');
    await forget([red, white]);
    const back = await enter(server, id, keys.ada);
    assert.deepEqual((await back.until(({ type }) => type === 'table')).moves, ['11-15']);
  });

  /** Waits until the module has no table in memory. @param {readonly Visitor[]} visitors */
  async function forget(visitors) {
    for (const one of visitors) await one.client.close();
    for (let tables = [{}]; tables.length > 0; )
      ({ tables } = /** @type {any} */ (await server.commands.call('checkers')));
  }

  test('is rebuilt without repeated events, and without those after a missing one', () => {
    const seats = { red: 'r', white: 'w' };
    const move = (/** @type {number} */ n, /** @type {string} */ notation) => ({
      n,
      type: 'move',
      ply: n,
      move: notation,
    });
    const begun = { n: 0, type: 'game', seats, moves: [] };
    const movesOf = (/** @type {(object | null)[]} */ ...events) => recordOf(events)?.game.moves;
    assert.deepEqual(movesOf(begun, move(1, '11-15'), move(2, '22-18')), ['11-15', '22-18']);
    assert.deepEqual(movesOf(begun, move(1, '11-15'), move(1, '22-18')), ['11-15']);
    assert.deepEqual(movesOf(begun, move(1, '11-15'), move(3, '22-18')), ['11-15']);
    assert.equal(movesOf(move(1, '11-15')), undefined);
    const later = { ...begun, n: 2, moves: ['11-15'] };
    assert.deepEqual(movesOf(begun, move(1, '9-13'), later, null, move(3, '22-18'), null), [
      '11-15',
      '22-18',
    ]);
    const impossible = { ...later, moves: ['11-14'] };
    assert.deepEqual(movesOf(begun, move(1, '9-13'), impossible, move(2, '22-18')), ['9-13', '22-18']);
    const end = { winner: 'red', why: 'white resigned' };
    assert.deepEqual(recordOf([{ ...begun, n: 9, end }])?.end, end);
    assert.deepEqual(recordOf([begun, { n: 1, type: 'end', end }])?.end, end);
  });

  describe('refuses', () => {
    test('invalid messages, with a reason', async () => {
      limits.refusals = 1000;
      const { red } = await begin(server);
      /** @type {[request: object | string | Uint8Array, why: RegExp][]} */
      const wrong = [
        ['', /JSON/],
        ['{', /JSON/],
        ['null', /JSON objects/],
        ['[]', /JSON objects/],
        ['17', /JSON objects/],
        [new Uint8Array([1, 2]), /text, not binary/],
        ['x'.repeat(501), /at most 500 bytes/],
        [{}, /"type" must be create, enter, sit, move/],
        [{ type: 'constructor' }, /"type" must be/],
        [{ type: '__proto__' }, /"type" must be/],
        [{ type: ['move'] }, /"type" must be/],
        [{ type: 'move', ply: '0', move: '11-15' }, /"ply" must be/],
        [{ type: 'move', ply: -1, move: '11-15' }, /"ply" must be/],
        [{ type: 'move', ply: 0.5, move: '11-15' }, /"ply" must be/],
        [{ type: 'move', ply: 0 }, /"move" must be a move/],
        [{ type: 'move', ply: 0, move: ['11-15'] }, /"move" must be a move/],
        [{ type: 'move', ply: 0, move: '11-15\n' }, /"move" must be a move/],
        [{ type: 'move', ply: 0, move: '11-14' }, /not a legal move/],
        [{ type: 'move', ply: 0, move: '22-18' }, /red has no piece on 22/],
        [{ type: 'move', ply: 7, move: '11-15' }, /position has changed/],
        [{ type: 'sit', side: 'blue' }, /"side" must be/],
        [{ type: 'sit', side: 'white' }, /someone else plays white/],
        [{ type: 'create', side: 'red', key: keys.ada }, /this connection has a table/],
        [{ type: 'enter', id: 'aaaaaaaa', key: keys.ada }, /this connection has a table/],
        [{ type: 'decline' }, /nobody offers a draw/],
        [{ type: 'accept' }, /your opponent offers no draw/],
      ];
      for (const [request, why] of wrong)
        assert.match(await red.refused(request), why, JSON.stringify(request));
      await red.send({ type: 'move', ply: 0, move: '11-15' });
      await red.table(1);
      assert.match(await red.refused({ type: 'move', ply: 1, move: '22-18' }), /it is white's turn/);
    });

    test('requests without a table, unknown tables, and invalid keys', async () => {
      const one = await visit(server);
      assert.equal(await one.refused({ type: 'resign' }), 'create or enter a table first');
      assert.match(await one.refused({ type: 'enter', id: 'aaaaaaaa', key: keys.ada }), /no such game/);
      assert.match(await one.refused({ type: 'enter', id: '../../x', key: keys.ada }), /"id" must be/);
      assert.match(await one.refused({ type: 'create', side: 'red', key: 'short' }), /"key" must be/);
      assert.match(await one.refused({ type: 'create', side: 'red', key: 'ü'.repeat(22) }), /"key" must be/);
    });

    test('moves before the second player has sat down', async () => {
      const red = await visit(server);
      await red.send({ type: 'create', side: 'red', key: keys.ada });
      const begins = 'the game begins when the second player sits down';
      assert.equal(await red.refused({ type: 'move', ply: 0, move: '11-15' }), begins);
      assert.equal(await red.refused({ type: 'resign' }), begins);
    });

    test('more tables of one address than the limit, even when their clients have gone', async () => {
      limits.tablesEach = 2;
      for (const { red, white } of [await begin(server), await begin(server)])
        for (const one of [red, white]) await one.client.close();
      const third = await visit(server);
      const create = { type: 'create', side: 'red', key: keys.eve };
      assert.match(await third.refused(create), /your address has created too many tables/);
      limits.tablesEach = 3;
      await third.send(create);
      await third.table(0);
    });

    test('more tables, and more spectators, than the limits', async () => {
      limits.tables = 2;
      limits.visitors = 3;
      const { id } = await begin(server);
      await begin(server);
      const third = await visit(server);
      assert.match(
        await third.refused({ type: 'create', side: 'red', key: keys.eve }),
        /all tables are taken/,
      );
      const watcher = await enter(server, id, keys.eve);
      await watcher.table(0);
      assert.match(await third.refused({ type: 'enter', id, key: keys.eve }), /no room for more spectators/);
    });

    test('invalid messages between valid ones without closing the connection', async () => {
      limits.refusals = 3;
      const { red } = await begin(server);
      for (let ply = 0; ply < 3; ply++) {
        await red.refused('nonsense');
        await red.refused('nonsense');
        await red.send({ type: 'sit', side: 'red' });
      }
      assert.equal(red.client.isOpen, true);
    });

    test('too many messages in a row by closing the connection, and closes one without a table', async () => {
      const one = await visit(server);
      for (let n = 0; n < limits.refusals; n++) await one.send('nonsense');
      assert.deepEqual(await one.client.closed, { code: 4008, reason: 'too many refused messages' });
      limits.undecided = 0;
      const idle = await visit(server);
      assert.deepEqual(await idle.client.closed, { code: 4008, reason: 'choose a table sooner' });
    });
  });
});

test('a table that cannot be stored is not created, and its client can try again', async t => {
  const server = await listen({ handlers: { checkers }, rooms: ['none'], maxChannels: 1 });
  t.after(() => server.close());
  await begin(server);
  const late = await visit(server);
  const create = { type: 'create', side: 'red', key: keys.eve };
  assert.match(await late.refused(create), /^nothing has changed: there are 1 channels already/);
  await server.commands.set('max-channels', '2');
  await late.send(create);
  await late.table(0);
});

describe('a new version of the module', () => {
  const example = fileURLToPath(new URL('..', import.meta.url));
  /** @type {string} */
  let folder;
  /** @type {TestServer} */
  let server;
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'checkers-'));
    for (const part of ['handlers', 'public'])
      cpSync(join(example, part), join(folder, part), { recursive: true });
    server = await listen({ handlers: join(folder, 'handlers'), rooms: ['none'] });
  });
  afterEach(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });

  /** Changes the file of the module, and reloads it. @param {string} old @param {string} now */
  async function swap(old, now) {
    const file = join(folder, 'handlers/checkers.mjs');
    const source = readFileSync(file, 'utf8');
    assert.ok(source.includes(old), old);
    writeFileSync(file, source.replace(old, now));
    return server.commands.reload();
  }

  test('takes over in mid-game: connections, seats, the offer and the moves stay', async () => {
    const { red, white } = await begin(server);
    await play(red, white, shortGame.slice(0, 10));
    await white.send({ type: 'offer' });
    await red.until(({ offer }) => offer === 'white');
    // A move is under way while the version is replaced.
    await Promise.all([
      swap('you watch this game', 'you only watch'),
      red.send({ type: 'move', ply: 10, move: shortGame[10] }),
    ]);
    assert.deepEqual((await white.table(11)).moves, shortGame.slice(0, 11));
    await red.table(11);
    await play(red, white, shortGame.slice(11), 11);
    const { tables } = /** @type {any} */ (await server.commands.call('checkers'));
    assert.equal(tables[0].result, 'white has no pieces left');
  });

  test('that throws is rolled back: the previous one handles the same move, and it is stored once', async () => {
    const { id, red, white } = await begin(server);
    await play(red, white, shortGame.slice(0, 4));
    await swap(
      '    const ply = Number(',
      "    if (request['ply'] === 5) throw new Error('broken');\n    const ply = Number(",
    );
    await play(red, white, shortGame.slice(4, 5), 4);
    await play(red, white, shortGame.slice(5, 8), 5);
    await server.waitFor(({ event }) => event === 'handler rolled back');
    assert.equal((await history(server, id)).filter(({ type }) => type === 'move').length, 8);
  });

  test('that throws after the move is stored is rolled back, and the move is stored once', async () => {
    const { id, red, white } = await begin(server);
    await play(red, white, shortGame.slice(0, 4));
    await swap('    table.record = next;', "    throw new Error('broken');");
    await play(red, white, shortGame.slice(4, 8), 4);
    await server.waitFor(({ event }) => event === 'handler rolled back');
    assert.equal((await history(server, id)).filter(({ type }) => type === 'move').length, 8);
  });

  test('that throws after a seat or the end is stored is rolled back, and nothing is lost', async () => {
    const red = await visit(server);
    await red.send({ type: 'create', side: 'red', key: keys.ada });
    const { id } = await red.table(0);
    const white = await enter(server, id, keys.bob);
    await swap('    table.record = next;', "    throw new Error('broken');");
    await white.send({ type: 'sit', side: 'white' });
    await white.until(({ type, sides }) => type === 'you' && sides[0] === 'white');
    await red.until(({ seats }) => seats?.white);
    await play(red, white, shortGame.slice(0, 2));
    await swap("    throw new Error('broken');", "    throw new Error('broken again');");
    await white.send({ type: 'resign' });
    for (const one of [red, white])
      assert.equal((await one.until(({ end }) => end)).end.why, 'white resigned');
  });

  test('that cannot be loaded changes nothing', async () => {
    const { red, white } = await begin(server);
    await assert.rejects(swap('export default {', 'export default {{'), /checkers\.mjs.* is not loaded/);
    await play(red, white, shortGame.slice(0, 2));
  });

  test('with a state of another shape rebuilds the tables from their channels', async () => {
    const { id, red, white } = await begin(server);
    await play(red, white, shortGame.slice(0, 10));
    await swap('const shape = 1;', 'const shape = 2;');
    for (const one of [red, white])
      assert.deepEqual(await one.client.closed, { code: 4000, reason: 'connect again' });
    const again = [await enter(server, id, keys.ada), await enter(server, id, keys.bob)];
    for (const one of again) assert.deepEqual((await one.table(10)).moves, shortGame.slice(0, 10));
    const [red2, white2] = again;
    assert.ok(red2 && white2);
    await play(red2, white2, shortGame.slice(10), 10);
  });
});

describe('a restart of the server', () => {
  test('loses no move, and keeps the seats for their keys', async () => {
    const data = mkdtempSync(join(tmpdir(), 'checkers-'));
    const options = { handlers: { checkers }, data, rooms: ['none'] };
    try {
      const before = await listen(options);
      const { id, red, white } = await begin(before);
      await play(red, white, shortGame.slice(0, 11));
      await before.close();
      const server = await listen(options);
      const again = [await enter(server, id, keys.ada), await enter(server, id, keys.bob)];
      for (const one of again) assert.deepEqual((await one.table(11)).moves, shortGame.slice(0, 11));
      const [red2, white2] = again;
      assert.ok(red2 && white2);
      const thief = await enter(server, id, keys.eve);
      assert.equal(await thief.refused({ type: 'sit', side: 'red' }), 'someone else plays red');
      await play(red2, white2, shortGame.slice(11), 11);
      await server.close();
      // The events of a game in play expire together, and a full event renews them.
      const lines = readFileSync(join(data, 'messages.jsonl'), 'utf8').trim().split('\n');
      const events = lines
        .map(line => JSON.parse(line))
        .filter(({ channel }) => channel === `checkers/${id}`);
      const days = (/** @type {{ time: string, expires: string }} */ { time, expires }) =>
        Math.round((Date.parse(expires) - Date.parse(time)) / 86_400_000);
      assert.deepEqual(
        events.slice(0, 4).map(event => [event.data.type, days(event)]),
        [
          ['game', 2],
          ['seat', 30],
          ['game', 30],
          ['move', 30],
        ],
      );
      const afterRestart = events.findIndex(({ data: { ply } }) => ply === 11);
      assert.equal(events[afterRestart + 1].data.type, 'game');
    } finally {
      rmSync(data, { recursive: true });
    }
  });
});
