/**
 * The record of a table: what its channel keeps, one event a message, and what the events add up to. The module writes the
 * events and rebuilds a table from them; the page replays them.
 *
 * Each event has the number `n`, from 0. An event `game` is everything so far. The module writes one at the beginning, and again
 * from time to time, so that a table can be rebuilt although the channel has dropped its oldest messages.
 *
 * @import { Game, Result, Side } from './rules.mjs'
 * @typedef {Partial<Record<Side, string>>} Seats for each taken seat, the hash of its player's key
 *
 * @typedef {{ n: number, type: 'game', seats: Seats, moves: readonly string[], end?: Result }} GameEvent
 * @typedef {{ n: number, type: 'seat', side: Side, key: string }} SeatEvent
 * @typedef {{ n: number, type: 'move', ply: number, move: string }} MoveEvent
 * @typedef {{ n: number, type: 'end', end: Result }} EndEvent the players' own: resigned, or agreed to a draw
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

/** An event with everything so far. @param {TableRecord} record @returns {GameEvent} */
export function fullEvent({ next, seats, game, end }) {
  return { n: next, type: 'game', seats, moves: game.moves, ...(end && { end }) };
}

/**
 * The record that the messages of a channel add up to. Others may publish there, too: messages that are no events, or do not
 * fit, are skipped.
 * @param {Iterable<unknown>} messages the values of their JSON, oldest first
 * @returns {TableRecord | undefined} undefined if the beginning is missing
 */
export function recordOf(messages) {
  const events = /** @type {readonly TableEvent[]} */ ([...messages]);
  // The newest event `game` has everything before it.
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
