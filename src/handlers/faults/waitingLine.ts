/** Queues of the pieces that a fault holds back. */

import { exactClock } from '../../process/clock.ts';
import type { ActiveFault, FaultContext, Piece } from './fault.ts';

/** The approximate memory of a piece besides its bytes, so that small pieces count, too. */
const pieceCost = 100;

export interface WaitingLine {
  first(): Piece | undefined;
  /** Removes the first piece. */
  take(): Piece | undefined;
  isEmpty(): boolean;
  /** @param dueAt the time, as in `exactClock()`, when the piece may leave; it never leaves before an earlier piece */
  add(piece: Piece, dueAt?: number): void;
  /** The time when the first piece may leave; undefined if there is no piece. */
  dueAt(): number | undefined;
  held(): number;
  clear(): void;
}

export function newWaitingLine(): WaitingLine {
  let pieces: { readonly piece: Piece; readonly dueAt: number }[] = [];
  /** The index of the first piece; earlier ones have left. */
  let start = 0;
  let size = 0;
  const line: WaitingLine = {
    first: () => pieces[start]?.piece,
    take() {
      const piece = pieces[start]?.piece;
      if (piece === undefined) return undefined;
      size -= piece.bytes.length;
      start++;
      if (start === pieces.length) line.clear();
      else if (start > 1000 && 2 * start > pieces.length) {
        pieces = pieces.slice(start);
        start = 0;
      }
      return piece;
    },
    isEmpty: () => start === pieces.length,
    add(piece, dueAt = 0) {
      pieces.push({ piece, dueAt: Math.max(dueAt, pieces.at(-1)?.dueAt ?? 0) });
      size += piece.bytes.length;
    },
    dueAt: () => pieces[start]?.dueAt,
    held: () => size + pieceCost * (pieces.length - start),
    clear() {
      pieces = [];
      start = 0;
      size = 0;
    },
  };
  return line;
}

/** Emits all pieces. */
export function releaseAll(line: WaitingLine, context: FaultContext): void {
  for (let piece = line.take(); piece !== undefined; piece = line.take()) context.emit(piece);
}

/** A line that emits each piece when it is due. */
export interface TimedLine extends WaitingLine {
  /** @param delay milliseconds from now */
  addLate(piece: Piece, delay: number): void;
}

export function newTimedLine(context: FaultContext): TimedLine {
  const line = newWaitingLine();
  let isTimed = false;
  const releaseDue = () => {
    isTimed = false;
    const now = exactClock();
    while ((line.dueAt() ?? Number.POSITIVE_INFINITY) <= now) context.emit(line.take()!);
    const next = line.dueAt();
    if (next === undefined) return;
    isTimed = true;
    context.later(Math.max(1, Math.ceil(next - now)), releaseDue);
  };
  return {
    ...line,
    addLate(piece, delay) {
      line.add(piece, exactClock() + delay);
      if (!isTimed) releaseDue();
    },
  };
}

/** A fault that delays the pieces it takes. Later pieces wait behind them. @param delayOfNext milliseconds */
export function delays(
  context: FaultContext,
  delayOfNext: () => number,
): ActiveFault & { take(piece: Piece): void } {
  const line = newTimedLine(context);
  return {
    take: piece => line.addLate(piece, delayOfNext()),
    pass(piece) {
      if (line.isEmpty()) context.emit(piece);
      else line.addLate(piece, 0);
    },
    held: line.held,
    stop: () => releaseAll(line, context),
  };
}
