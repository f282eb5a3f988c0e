/**
 * The record of a table. The channel of the table keeps an event in each message. The module writes the events and rebuilds a
 * table from them; the page replays them.
 *
 * Each event has a number `n`, from 0. An event `game` has the whole table. The module writes one at the beginning, and again from
 * time to time, because the channel drops its oldest messages.
 *
 * @import { Game, Result, Side } from './rules.mjs'
 * @typedef {Partial<Record<Side, string>>} Seats for each taken seat, the hash of its player's key
 *
 * @typedef {{ n: number, type: 'game', seats: Seats, moves: readonly string[], end?: Result }} GameEvent
 * @typedef {{ n: number, type: 'seat', side: Side, key: string }} SeatEvent
 * @typedef {{ n: number, type: 'move', ply: number, move: string }} MoveEvent
 * @typedef {{ n: number, type: 'end', end: Result }} EndEvent by the players: one has resigned, or both agreed to a draw
 * @typedef {GameEvent | SeatEvent | MoveEvent | EndEvent} TableEvent
 *
 * @typedef {object} TableRecord
 * @property {number} next the number of the next event
 * @property {number} fullAt the number of the last event `game`
 * @property {Seats} seats
 * @property {Game} game
 * @property {Result | undefined} end by the rules or by the players
 */

import { gameAfter, gameOf, resultOf } from './rules.mjs';

/**
 * The record after one more event.
 * @param {TableRecord | undefined} record undefined before the first event
 * @param {TableEvent} event
 * @returns {TableRecord}
 * @throws {RangeError} if the event does not fit
 */
export function recordAfter(record, event) {
  if (event.type === 'game') {
    const game = gameOf(event.moves);
    const end = event.end ?? resultOf(game);
    return { next: event.n + 1, fullAt: event.n, seats: event.seats, game, end };
  }
  if (record === undefined) throw new RangeError('a record begins with an event "game"');
  if (event.n !== record.next) throw new RangeError(`event ${record.next} is missing before ${event.n}`);
  const after = { ...record, next: event.n + 1 };
  switch (event.type) {
    case 'seat':
      return { ...after, seats: { ...record.seats, [event.side]: event.key } };
    case 'move': {
      const game = gameAfter(record.game, event.move);
      return { ...after, game, end: resultOf(game) };
    }
    case 'end':
      return { ...after, end: event.end };
    default:
      throw new RangeError(`a record has no event "${/** @type {{ type: string }} */ (event).type}"`);
  }
}

/** An event with the whole table. @param {TableRecord} record @returns {GameEvent} */
export function fullEvent({ next, seats, game, end }) {
  return { n: next, type: 'game', seats, moves: game.moves, ...(end && { end }) };
}

/**
 * Builds a record from the messages of a channel. It skips messages that are not events or do not fit, because others may publish
 * in the channel, too.
 * @param {Iterable<unknown>} messages the values of their JSON, oldest first
 * @returns {TableRecord | undefined} undefined if the beginning is missing
 */
export function recordOf(messages) {
  const events = /** @type {readonly TableEvent[]} */ ([...messages]);
  // The newest event `game` makes all earlier events superfluous.
  let at = events.length;
  /** @type {TableRecord | undefined} */
  let record;
  while (record === undefined && at > 0) record = recordIfValid(undefined, events[--at]);
  for (const event of events.slice(at + 1)) record = recordIfValid(record, event) ?? record;
  return record;
}

/** @param {TableRecord | undefined} record @param {TableEvent | null | undefined} event */
function recordIfValid(record, event) {
  try {
    return event ? recordAfter(record, event) : undefined;
  } catch {
    return undefined;
  }
}
