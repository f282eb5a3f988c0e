/** The last frames of a server in a test's process (`connection.frames`): a tap collects them from the start. */

import { newFrameTap } from '../diagnostics/frameTap.ts';
import { addTap, type Tapped } from '../diagnostics/tap.ts';
import { maxSeenFrames, maxSeenPayload } from '../protocol/testLimits.ts';
import { FIN, RSV1 } from '../protocol/websocket/frame.ts';
import type { Server } from '../records/records.ts';
import type { SeenFrame } from './interface.ts';

/** The frames of all connections together, in a ring: many connections take no more memory than one. */
export interface SeenFrames {
  readonly entries: { readonly connection: Tapped; readonly frame: SeenFrame }[];
  /** The index of the next one. */
  next: number;
}

/** Observes all connections of the server. */
export function watchFrames({ taps }: Pick<Server, 'taps'>): SeenFrames {
  const seen: SeenFrames = { entries: [], next: 0 };
  const tap = newFrameTap((connection, { direction, first, length, head }) => {
    const frame: SeenFrame = {
      ...{ direction, time: Date.now(), length, payload: head },
      opcode: first === undefined ? -1 : first & 0x0f,
      isFinal: first === undefined || (first & FIN) !== 0,
      isCompressed: first !== undefined && (first & RSV1) !== 0,
    };
    seen.entries[seen.next] = { connection, frame };
    seen.next = (seen.next + 1) % maxSeenFrames;
  }, maxSeenPayload);
  addTap(taps, 'all', tap);
  return seen;
}

/** @returns the frames of this connection, oldest first */
export function seenFramesOf({ entries, next }: SeenFrames, connection: Tapped): readonly SeenFrame[] {
  return [...entries.slice(next), ...entries.slice(0, next)]
    .filter(entry => entry.connection === connection)
    .map(({ frame }) => frame);
}

export function forgetFrames(seen: SeenFrames): void {
  seen.entries.length = 0;
  seen.next = 0;
}
