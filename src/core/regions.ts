/**
 * The turn's memory, and what lies where in it. All bytes of a turn, in and out, live in the one block that `unmask` is
 * fastest in, and in which bytes are moved without a view being made (`copyWithin`).
 *
 *     landing   every socket reads to here; what came is moved away before the next one reads
 *     input     what arrived since the last turn, connection after connection
 *     output    the frames that this turn sends, in slots (see arena.ts)
 */
import { ioArena } from '../protocol/websocket/mask.ts';

const KiB = 1024;

/** The most that one read takes. Of one connection a turn sees no more than the input holds. */
export const landingSize = 256 * KiB;
export const inputStart = landingSize;
export const inputEnd = inputStart + 768 * KiB;

export const outputStart = inputEnd;
export const slotSize = 256 * KiB;
export const slotCount = Math.floor((ioArena.length - outputStart) / slotSize);
