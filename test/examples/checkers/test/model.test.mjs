/** Random sessions: the module agrees with a model of a table, and survives any message. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { listen } from 'pollywog';
import { connect } from 'pollywog/client';
import checkers, { limits } from '../handlers/checkers.mjs';
import { recordOf } from '../public/record.mjs';
import { gameAfter, movesOf, newGame, notationOf, otherSide, resultOf } from '../public/rules.mjs';

/** @import { Game, Side } from '../public/rules.mjs' */

limits.refusals = 1_000_000;
const server = await listen({ handlers: { checkers }, rooms: ['none'] });
after(() => server.close());

/**
 * @typedef {{ who: 'red' | 'white' | 'watcher', type: 'legal' | 'illegal' | 'late' | 'offer' | 'accept' | 'decline' | 'resign', pick: number }} Step
 * @typedef {{ game: Game, offer: Side | null, offeredAt: number, end: { winner: Side | null, why: string } | null }} Model
 */

/** @param {{ winner: Side | undefined, why: string } | undefined} result */
const shownEnd = result => (result === undefined ? null : { winner: result.winner ?? null, why: result.why });

/** The model as the module shows it. @param {Model} model */
const shown = ({ game: { moves }, offer, end }) => ({ moves, offer, end });

/** @param {{ moves: readonly string[], offer: Side | null, end: Model['end'] }} table */
const stateOf = ({ moves, offer, end }) => JSON.stringify([moves, offer, end]);

/** @param {Model} model @param {Step} step @returns {[request: object, after: Model | undefined]} undefined: it is refused */
function expected(model, { who, type, pick }) {
  const { game, offer, offeredAt, end } = model;
  const ply = game.moves.length;
  const isOver = end !== null || who === 'watcher';
  if (type === 'legal' || type === 'illegal' || type === 'late') {
    const moves = movesOf(game.position).map(notationOf);
    const legal = moves[pick % Math.max(1, moves.length)] ?? '1-5';
    if (type === 'illegal') return [{ type: 'move', ply, move: `${legal}x1` }, undefined];
    if (type === 'late') return [{ type: 'move', ply: ply + 1 + (pick % 3), move: legal }, undefined];
    const request = { type: 'move', ply, move: legal };
    const { turn } = game.position;
    if (isOver || who !== turn) return [request, undefined];
    const next = gameAfter(game, legal);
    return [
      request,
      { ...model, game: next, offer: offer === turn ? offer : null, end: shownEnd(resultOf(next)) },
    ];
  }
  const request = { type };
  if (isOver) return [request, undefined];
  const side = /** @type {Side} */ (who);
  if (type === 'resign')
    return [request, { ...model, offer: null, end: { winner: otherSide(side), why: `${side} resigned` } }];
  if (type === 'offer')
    return [
      request,
      offer !== null || offeredAt === ply ? undefined : { ...model, offer: side, offeredAt: ply },
    ];
  if (type === 'decline') return [request, offer === null ? undefined : { ...model, offer: null }];
  if (offer === null || offer === side) return [request, undefined];
  return [request, { ...model, offer: null, end: { winner: null, why: 'the players agreed to a draw' } }];
}

const step = fc.record({
  who: fc.constantFrom('red', 'white', 'red', 'white', 'watcher'),
  // Most steps are moves, so games make progress.
  type: fc.oneof(
    { arbitrary: fc.constant('legal'), weight: 60 },
    { arbitrary: fc.constantFrom('illegal', 'late', 'offer', 'decline'), weight: 12 },
    { arbitrary: fc.constantFrom('accept', 'resign'), weight: 1 },
  ),
  pick: fc.nat(1000),
});

/** Opens a client and waits for its table. @param {object} request */
async function join(request) {
  const client = await connect(`${server.url}/checkers`);
  client.send(JSON.stringify(request));
  for await (const text of client) {
    const { type, id } = JSON.parse(String(text));
    if (type === 'table') return { client, id };
  }
  throw new Error('the module closed the connection');
}

test('random sessions of two players and a spectator agree with the model, and the channel has the same game', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 200 }), async steps => {
      const red = await join({ type: 'create', side: 'red', key: 'r'.repeat(22) });
      const { id } = red;
      const white = await join({ type: 'enter', id, key: 'w'.repeat(22) });
      const watcher = await join({ type: 'enter', id, key: 'o'.repeat(22) });
      const clients = { red, white, watcher };
      /** The next answer: a refusal, or a table for which `isWanted`. @param {keyof typeof clients} who @param {(table: any) => boolean} isWanted */
      const answer = async (who, isWanted) => {
        for await (const text of clients[who].client) {
          const message = JSON.parse(String(text));
          if (message.type === 'refused' || (message.type === 'table' && isWanted(message))) return message;
        }
      };
      white.client.send('{"type":"sit","side":"white"}');
      await answer('white', ({ seats }) => seats.white);
      /** @type {Model} */
      let model = { game: newGame(), offer: null, offeredAt: -1, end: null };
      for (const one of /** @type {Step[]} */ (steps)) {
        const [request, next] = expected(model, one);
        clients[one.who].client.send(JSON.stringify(request));
        const before = stateOf(shown(model));
        const reply = await answer(one.who, table => stateOf(table) !== before);
        const isRight =
          next === undefined
            ? reply.type === 'refused'
            : reply.type === 'table' && stateOf(reply) === stateOf(shown(next));
        assert.ok(isRight, JSON.stringify({ request, reply, next: next && shown(next) }));
        if (next === undefined) continue;
        model = next;
        // The other clients read up to this table, too.
        for (const who of /** @type {const} */ (['red', 'white', 'watcher']))
          if (who !== one.who) await answer(who, table => stateOf(table) === stateOf(shown(next)));
      }
      const kept = await fetch(`${server.url.replace('ws', 'http')}/channels/checkers/${id}?last=1000`);
      const { messages } = await kept.json();
      const record = recordOf(messages.map((/** @type {any} */ { data }) => data));
      assert.deepEqual(record?.game.moves, model.game.moves);
      assert.deepEqual(shownEnd(record?.end), model.end);
      for (const { client } of Object.values(clients)) client.destroy();
    }),
    { numRuns: 20 },
  );
});

test('the module answers any JSON, and invalid requests do not change the table', async () => {
  const { client, id } = await join({ type: 'create', side: 'red', key: 'r'.repeat(22) });
  const names = fc.constantFrom('type', 'id', 'key', 'side', 'ply', 'move', '__proto__', 'constructor');
  const types = fc.constantFrom('create', 'enter', 'sit', 'move', 'offer', 'accept', 'decline', 'resign');
  const request = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(names, fc.oneof(types, fc.jsonValue())),
    fc.record({ type: types, ply: fc.oneof(fc.nat(3), fc.jsonValue()), move: fc.jsonValue() }),
  );
  await fc.assert(
    fc.asyncProperty(request, async value => {
      const text = JSON.stringify(value);
      // A valid request to sit down gets no refusal: its key has the seat.
      if (text.includes('"sit"')) return;
      client.send(text);
      for (;;) {
        const { type, why } = JSON.parse(String(await client.next()));
        if (type === 'refused') return assert.match(why, /./);
      }
    }),
    { numRuns: 500 },
  );
  const { client: other } = await join({ type: 'enter', id, key: 'x'.repeat(22) });
  other.destroy();
  client.destroy();
  assert.deepEqual(
    await server.commands.call('checkers', id).then(table => /** @type {any} */ (table).moves),
    [],
  );
});
