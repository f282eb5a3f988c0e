/**
 * English draughts (American checkers) for two players and any number of spectators: an example of a module.
 *
 * - The channel `checkers/ID` keeps the record of the table ID. Clients see a move when the channel has stored it, so a restart of
 *   the server loses no move: `find` rebuilds the table from its channel.
 * - Each change sends the whole table to its clients. A client needs nothing else after a reconnect, or after a new version of this
 *   module.
 * - A seat belongs to a key that the browser has chosen. The channel has only a hash of the key, because anyone can read the channel.
 *
 * @import { Connection, Handler, Message, Server } from 'pollywog'
 * @import { Side } from '../public/rules.mjs'
 * @import { TableEvent, TableRecord } from '../public/record.mjs'
 *
 * @typedef {object} Table
 * @property {string} id
 * @property {TableRecord} record
 * @property {Side | undefined} offer who offers a draw
 * @property {number} offeredAt the number of moves at the last offer
 * @property {Promise<unknown> | undefined} storing settles when the channel has stored the current event
 * @property {number} fullTime when the last full event was stored, in milliseconds since the epoch; 0: unknown
 * @property {string} [creator] the address of the client that created it; undefined for a rebuilt table
 * @property {number} usedAt when a client was last connected
 *
 * @typedef {object} State
 * @property {number} shape of this state and of `connection.data`
 * @property {Map<string, Table>} tables in memory, by ID
 * @property {Set<string>} crowds tables whose clients have changed since the last tick
 *
 * @typedef {object} Client
 * @property {number} since when it connected
 * @property {string | undefined} id of its table
 * @property {string} key the hash of its key; each table has another hash
 * @property {number} refusals in a row
 *
 * @typedef {Server<Client, State>} Checkers
 * @typedef {Connection<Client>} Visitor
 * @typedef {Record<string, unknown>} Request
 */

import { createHash, randomInt } from 'node:crypto';
import { fullEvent, recordAfter, recordOf } from '../public/record.mjs';
import { gameAfter, otherSide } from '../public/rules.mjs';

const minute = 60_000;
const day = 24 * 60 * minute;

/** Limits on the memory and time that clients can take. Tests lower them. */
export const limits = {
  /** Tables in memory, and those created from one address. */
  tables: 1000,
  tablesEach: 100,
  /** Connections of one table. */
  visitors: 5000,
  /** A table without clients leaves the memory after this time. Its channel keeps it. */
  idle: 10 * minute,
  /** A connection must choose a table within this time. */
  undecided: minute,
  /** Bytes of a message. */
  message: 500,
  /** Refused messages in a row after which the connection is closed. */
  refusals: 20,
};

/** Days without a move after which the channel forgets a table: one that waits for a second player, and one in play. */
const keptDays = { waiting: 2, playing: 30 };

/** Events between two full ones: fewer than `--history` keeps. */
const fullAfter = 32;

/** The shape of the state. A version that changes it changes this number. */
const shape = 1;

/** @returns {State} */
const newState = () => ({ shape, tables: new Map(), crowds: new Set() });

/** @type {Handler<Client, State>} */
export default {
  name: 'checkers',
  state: newState,

  /** Replaces a state of another shape: the pages connect again, and their channels rebuild the tables. */
  swap(old, { connections }) {
    if (/** @type {State} */ (old)?.shape === shape) return;
    for (const one of connections) one.close(4000, 'connect again');
    return newState();
  },

  opened(connection) {
    connection.data = { since: Date.now(), id: undefined, key: '', refusals: 0 };
  },

  message(connection, message, server) {
    const accept = () => {
      connection.data.refusals = 0;
    };
    try {
      const change = act(connection, read(message), server);
      if (change === undefined) accept();
      return change?.then(accept).catch(error => refuse(connection, error));
    } catch (error) {
      refuse(connection, error);
    }
  },

  closed({ data }, _code, _reason, { state }) {
    if (data?.id !== undefined) state.crowds.add(data.id);
  },

  /** Tells the clients of a table who is connected, at most four times a second. */
  tick(server) {
    const { state, connections } = server;
    for (const id of state.crowds) {
      const table = state.tables.get(id);
      if (table !== undefined) show(table, server);
    }
    state.crowds.clear();
    const now = Date.now();
    for (const { id, usedAt, storing } of state.tables.values()) {
      if (server.members(id) > 0) touch(server, id);
      else if (now - usedAt >= limits.idle && storing === undefined) state.tables.delete(id);
    }
    for (const one of connections) {
      if (one.data?.id === undefined && now - (one.data?.since ?? now) >= limits.undecided)
        one.close(4008, 'choose a table sooner');
    }
  },
  tickEvery: 250,

  /** `pollywog call checkers` lists the tables, and `pollywog call checkers ID` shows one. */
  command([id], server) {
    const { tables } = server.state;
    if (id !== undefined) return shown(find(server, id), server);
    return {
      connections: server.connections.size,
      tables: [...tables.values()].map(({ id: name, record }) => ({
        id: name,
        moves: record.game.moves.length,
        clients: server.members(name),
        result: record.end?.why ?? '',
      })),
    };
  },
};

/** A request that the module refuses. The message is for the client's user. Any other error is a bug of the module. */
class Refusal extends Error {}

/** @param {Visitor} connection @param {unknown} error @throws any other error */
function refuse(connection, error) {
  if (!(error instanceof Refusal)) throw error;
  connection.send(JSON.stringify({ type: 'refused', why: error.message }));
  const { data } = connection;
  data.refusals++;
  if (data.refusals >= limits.refusals) connection.close(4008, 'too many refused messages');
}

/** @param {Message} message @returns {Request} @throws Refusal */
function read(message) {
  if (!message.isText) throw new Refusal('messages are text, not binary');
  if (message.size > limits.message) throw new Refusal(`messages have at most ${limits.message} bytes`);
  let value;
  try {
    value = JSON.parse(message.text());
  } catch {
    throw new Refusal('messages are JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Refusal('messages are JSON objects with a "type"');
  return value;
}

/** The patterns of the fields of requests. @type {Record<string, [pattern: RegExp, what: string]>} */
const fields = {
  id: [/^[a-z2-9]{8}$/, 'the ID of a table, such as "k7f3q2ab"'],
  side: [/^(?:red|white)$/, '"red" or "white"'],
  key: [/^[\w-]{22,64}$/, '22 to 64 letters, digits, - or _'],
  ply: [/^\d{1,4}$/, 'the number of moves before this one'],
  move: [/^\d{1,2}(?:-\d{1,2}|(?:x\d{1,2}){1,12})$/, 'a move, such as "11-15" or "15x24"'],
};

/** @param {Request} request @param {string} name @returns {string} @throws Refusal */
function field(request, name) {
  const [pattern, what] = fields[name] ?? [/^$/, ''];
  const value = request[name];
  const text = typeof value === (name === 'ply' ? 'number' : 'string') ? String(value) : '';
  if (!pattern.test(text)) throw new Refusal(`"${name}" must be ${what}`);
  return text;
}

/**
 * Carries out a request. If it throws, it has changed and sent nothing.
 * @param {Visitor} connection @param {Request} request @param {Checkers} server
 * @returns {Promise<void> | undefined} settles when the change is stored
 */
function act(connection, request, server) {
  const { data } = connection;
  if (request['type'] === 'create') return create(connection, request, server);
  if (request['type'] === 'enter') return enter(connection, request, server);
  const { type } = request;
  if (typeof type !== 'string' || !Object.hasOwn(requests, type))
    throw new Refusal(`"type" must be create, enter, ${Object.keys(requests).join(', ')}`);
  if (data.id === undefined) throw new Refusal('create or enter a table first');
  const table = find(server, data.id);
  // One event at a time: the next request sees the table after it.
  if (table.storing !== undefined) {
    const again = () => act(connection, request, server);
    return table.storing.then(again, again);
  }
  return requests[/** @type {keyof typeof requests} */ (type)](table, connection, request, server);
}

/** @param {Visitor} connection @param {Request} request @param {Checkers} server */
function create(connection, request, server) {
  const { data } = connection;
  const { tables } = server.state;
  const side = /** @type {Side} */ (field(request, 'side'));
  const key = field(request, 'key');
  if (data.id !== undefined) throw new Refusal('this connection has a table; open another one');
  if (tables.size >= limits.tables) throw new Refusal('all tables are taken; try again in a few minutes');
  const creator = connection.address.replace(/:\d+$/, '');
  const own = [...tables.values()].filter(table => table.creator === creator);
  if (own.length >= limits.tablesEach)
    throw new Refusal('your address has created too many tables; try again in a few minutes');
  const id = newId();
  /** @type {TableEvent} */
  const event = { n: 0, type: 'game', seats: { [side]: hashOf(id, key) }, moves: [] };
  const table = { ...newTable(id, recordAfter(undefined, event)), creator };
  tables.set(id, table);
  data.id = id;
  return store(table, [event], keptDays.waiting, server, () => sit(connection, table, key, server)).catch(
    error => {
      tables.delete(id);
      data.id = undefined;
      throw error;
    },
  );
}

/** @param {Visitor} connection @param {Request} request @param {Checkers} server */
function enter(connection, request, server) {
  const { data } = connection;
  const id = field(request, 'id');
  const key = field(request, 'key');
  if (data.id !== undefined) throw new Refusal('this connection has a table; open another one');
  const table = find(server, id);
  if (server.members(id) >= limits.visitors) throw new Refusal('there is no room for more spectators');
  data.id = id;
  sit(connection, table, key, server);
  return undefined;
}

/**
 * Adds the client to a table. The client gets the table now and after each change.
 * @param {Visitor} connection @param {Table} table @param {string} key @param {Checkers} server
 */
function sit(connection, table, key, server) {
  connection.data.key = hashOf(table.id, key);
  connection.join(table.id);
  welcome(connection, table, server);
  connection.send(JSON.stringify(shown(table, server)));
}

/** Tells the client which sides it plays. @param {Visitor} connection @param {Table} table @param {Checkers} server */
function welcome(connection, table, server) {
  const sides = sidesOf(connection, table);
  for (const side of sides) connection.join(`${table.id}/${side}`);
  if (sides.length > 0) connection.join(`${table.id}/players`);
  connection.send(JSON.stringify({ type: 'you', sides }));
  server.state.crowds.add(table.id);
}

/** @satisfies {Record<string, (table: Table, connection: Visitor, request: Request, server: Checkers) => Promise<void> | undefined>} */
const requests = {
  sit(table, connection, request, server) {
    const { seats, next } = table.record;
    const side = /** @type {Side} */ (field(request, 'side'));
    const { key } = connection.data;
    if (seats[side] === key) {
      welcome(connection, table, server);
      return undefined;
    }
    if (seats[side] !== undefined) throw new Refusal(`someone else plays ${side}`);
    return record(table, { n: next, type: 'seat', side, key }, server, () => {
      for (const one of server.connections)
        if (one.data?.id === table.id && one.data.key === key) welcome(one, table, server);
    });
  },

  move(table, connection, request, server) {
    const { game, next } = table.record;
    const ply = Number(field(request, 'ply'));
    const move = field(request, 'move');
    // A page repeats a move if it lost its connection before the answer; the server repeats it after a rollback.
    if (ply < game.moves.length && game.moves[ply] === move) {
      connection.send(JSON.stringify(shown(table, server)));
      return undefined;
    }
    requirePlayer(connection, table);
    const { turn } = game.position;
    if (!sidesOf(connection, table).includes(turn)) throw new Refusal(`it is ${turn}'s turn`);
    if (ply !== game.moves.length) throw new Refusal('the position has changed');
    orRefuse(() => gameAfter(game, move));
    return record(table, { n: next, type: 'move', ply, move }, server);
  },

  offer(table, connection, _request, server) {
    const side = requirePlayer(connection, table);
    const { length } = table.record.game.moves;
    if (table.offer !== undefined) throw new Refusal(`${table.offer} has offered a draw already`);
    if (table.offeredAt === length) throw new Refusal('one offer is enough; make a move first');
    table.offer = side;
    table.offeredAt = length;
    show(table, server);
    return undefined;
  },

  decline(table, connection, _request, server) {
    requirePlayer(connection, table);
    if (table.offer === undefined) throw new Refusal('nobody offers a draw');
    table.offer = undefined;
    show(table, server);
    return undefined;
  },

  accept(table, connection, _request, server) {
    requirePlayer(connection, table);
    const { offer, record: now } = table;
    if (offer === undefined || !sidesOf(connection, table).includes(otherSide(offer)))
      throw new Refusal('your opponent offers no draw');
    const end = { winner: undefined, why: 'the players agreed to a draw' };
    return record(table, { n: now.next, type: 'end', end }, server);
  },

  resign(table, connection, _request, server) {
    const side = requirePlayer(connection, table);
    const end = { winner: otherSide(side), why: `${side} resigned` };
    return record(table, { n: table.record.next, type: 'end', end }, server);
  },
};

/** @param {Visitor} connection @param {Table} table @returns {Side[]} */
const sidesOf = ({ data }, { record: { seats } }) =>
  /** @type {Side[]} */ (['red', 'white']).filter(side => seats[side] === data.key);

/**
 * The side for which the client acts. A client that plays both sides acts for the side to move.
 * @param {Visitor} connection @param {Table} table @throws Refusal unless the game is under way and the client plays
 */
function requirePlayer(connection, table) {
  const { seats, game, end } = table.record;
  const [first, second] = sidesOf(connection, table);
  if (first === undefined) throw new Refusal('you watch this game');
  if (end !== undefined) throw new Refusal(`the game is over: ${end.why}`);
  if (seats.red === undefined || seats.white === undefined)
    throw new Refusal('the game begins when the second player sits down');
  return second === undefined ? first : game.position.turn;
}

/** @param {() => unknown} check @throws Refusal with the message of a RangeError */
function orRefuse(check) {
  try {
    check();
  } catch (error) {
    throw error instanceof RangeError ? new Refusal(error.message) : error;
  }
}

/**
 * Stores one more event of the table, and then sends the table to its clients.
 * @param {Table} table @param {TableEvent} event @param {Checkers} server @param {() => void} [then]
 */
function record(table, event, server, then) {
  const events = [event];
  const { turn } = table.record.game.position;
  let next = recordAfter(table.record, event);
  // The channel keeps the first events for a short time only, so a full event begins the game in play.
  if (event.type === 'seat' || next.next - next.fullAt > fullAfter || Date.now() - table.fullTime > day) {
    const full = fullEvent(next);
    events.push(full);
    next = { ...next, next: full.n + 1, fullAt: full.n };
  }
  return store(table, events, keptDays.playing, server, () => {
    table.record = next;
    // An offer stands until the opponent moves.
    if (event.type === 'end' || (event.type === 'move' && turn !== table.offer)) table.offer = undefined;
    show(table, server);
    then?.();
  });
}

/**
 * Publishes events in the table's channel, and calls `then` when they are stored. The keys make it safe to repeat this: if a new
 * version of the module throws in `then`, the previous version handles the same message again.
 * @param {Table} table @param {readonly TableEvent[]} events @param {number} days for which the channel keeps them
 * @param {Checkers} server @param {() => void} then
 * @returns {Promise<void>} rejects with a Refusal if the events could not be stored
 */
function store(table, events, days, { channels, state }, then) {
  const ttl = days * (day / 1000);
  const published = events.map(event => {
    const text = JSON.stringify(event);
    return channels.publish(channelOf(table.id), text, { as: 'json', ttl, key: text.slice(0, 100) });
  });
  const stored = Promise.all(published).then(
    () => {
      if (events.some(({ type }) => type === 'game')) table.fullTime = Date.now();
      try {
        then();
      } catch (error) {
        // The channel is ahead of this table: the next client rebuilds it.
        state.tables.delete(table.id);
        throw error;
      }
    },
    error => {
      throw new Refusal(`nothing has changed: ${error.message}`);
    },
  );
  const settled = stored.finally(() => {
    table.storing = undefined;
  });
  table.storing = settled;
  return settled;
}

/** @param {Table} table @param {Checkers} server */
function show(table, server) {
  server.publish(table.id, JSON.stringify(shown(table, server)));
}

/** The table as its clients get it. @param {Table} table @param {Checkers} server */
function shown({ id, record: { seats, game, end }, offer }, server) {
  /** @param {string} group */
  const isThere = group => server.members(`${id}/${group}`) > 0;
  return {
    type: 'table',
    id,
    seats: { red: seats.red !== undefined, white: seats.white !== undefined },
    present: { red: isThere('red'), white: isThere('white') },
    spectators: server.members(id) - server.members(`${id}/players`),
    moves: game.moves,
    offer: offer ?? null,
    end: end === undefined ? null : { winner: end.winner ?? null, why: end.why },
  };
}

/** The table, from memory or from its channel. @param {Checkers} server @param {string} id @returns {Table} @throws Refusal */
function find({ state, channels }, id) {
  const known = state.tables.get(id);
  if (known !== undefined) return known;
  const record = recordOf(messagesOf(channels.history(channelOf(id))));
  if (record === undefined) throw new Refusal('there is no such game; its link may be too old');
  if (state.tables.size >= limits.tables)
    throw new Refusal('all tables are taken; try again in a few minutes');
  const table = newTable(id, record);
  state.tables.set(id, table);
  // After a rollback, clients may not have seen its last event.
  state.crowds.add(id);
  return table;
}

/** The events of a channel. Chat in a room of the same name is text. @param {ReturnType<Checkers['channels']['history']>} history */
function* messagesOf(history) {
  for (const message of history) if (message.kind === 'json') yield JSON.parse(message.text());
}

/** @param {Checkers} server @param {string} id */
function touch({ state }, id) {
  const table = state.tables.get(id);
  if (table !== undefined) table.usedAt = Date.now();
}

/** @param {string} id @param {TableRecord} now @returns {Table} */
function newTable(id, now) {
  const none = { offer: undefined, offeredAt: -1, storing: undefined, fullTime: 0 };
  return { id, record: now, ...none, usedAt: Date.now() };
}

/** @param {string} id */
const channelOf = id => `checkers/${id}`;

/** No two of these characters look alike. */
const letters = 'abcdefghjkmnpqrstuvwxyz23456789';

const newId = () => Array.from({ length: 8 }, () => letters[randomInt(letters.length)]).join('');

/** @param {string} id @param {string} key */
const hashOf = (id, key) => createHash('sha256').update(`${id}:${key}`).digest('base64url');
