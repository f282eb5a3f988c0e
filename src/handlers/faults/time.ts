/** Time faults delay, slow down or stop output. The faulty socket bounds the waiting bytes. */

import { duration } from '../../options/values.ts';
import { exactClock } from '../../process/clock.ts';
import { bandwidthInterval, maxBandwidth } from '../../protocol/faultLimits.ts';
import { type ActiveFault, defineFault, type FaultContext, type FaultKind, type Piece } from './fault.ts';
import { sizeUpTo, spread } from './parameters.ts';
import { delays, newWaitingLine, releaseAll } from './waitingLine.ts';

const delay = defineFault({
  name: 'delay',
  sentence: 'delays output by this time',
  stage: 'time',
  takes: 'everything',
  needsFrames: false,
  parameters: { delay: { kind: spread, default: { around: 200, by: 0 } } },
  make: ({ delay: { around, by } }, context) =>
    delays(context, () => around - by + context.random.below(2 * by + 1)),
});

const stall = defineFault({
  name: 'stall',
  sentence: 'stops output for this time; 0: forever',
  stage: 'time',
  takes: 'everything',
  needsFrames: false,
  parameters: { stall: { kind: duration, default: 0 } },
  make(values, context) {
    const line = newWaitingLine();
    let isStalled = false;
    const end = () => {
      isStalled = false;
      releaseAll(line, context);
    };
    return {
      take(piece) {
        if (!isStalled && values.stall > 0) context.later(values.stall, end);
        isStalled = true;
        line.add(piece);
      },
      pass(piece) {
        if (isStalled) line.add(piece);
        else context.emit(piece);
      },
      held: line.held,
      stop: end,
    };
  },
});

/**
 * A line that sends its output in small pieces.
 * @param interval milliseconds between two pieces
 * @param nextSize the number of bytes to send now, given the milliseconds since the last piece
 */
function newSlowLine(
  interval: number,
  nextSize: (elapsed: number) => number,
  context: FaultContext,
): ActiveFault {
  const line = newWaitingLine();
  /** Bytes of the first piece already sent. */
  let sent = 0;
  let lastAt = 0;
  /** Sends up to `room` bytes of the first piece. @returns how many */
  const sendSome = (piece: Piece, room: number) => {
    const size = Math.min(room, piece.bytes.length - sent);
    const isLast = sent + size === piece.bytes.length;
    if (isLast) line.take();
    if (size === piece.bytes.length) context.emit(piece);
    else if (size > 0) context.send('bytes', piece.bytes.subarray(sent, sent + size));
    sent = isLast ? 0 : sent + size;
    return size;
  };
  const next = () => {
    const now = exactClock();
    let room = nextSize(now - lastAt);
    lastAt = now;
    for (let first = line.first(); first !== undefined; first = line.first()) {
      if (room === 0 && first.bytes.length > 0) break;
      room -= sendSome(first, room);
    }
    if (!line.isEmpty()) context.later(interval, next);
  };
  const add = (piece: Piece) => {
    const isFirst = line.isEmpty();
    line.add(piece);
    if (!isFirst) return;
    lastAt = exactClock();
    context.later(interval, next);
  };
  return {
    take: add,
    pass(piece) {
      if (line.isEmpty()) context.emit(piece);
      else add(piece);
    },
    held: line.held,
    stop() {
      const first = line.first();
      if (first !== undefined) sendSome(first, first.bytes.length);
      releaseAll(line, context);
    },
  };
}

const bandwidth = defineFault({
  name: 'bandwidth',
  sentence: 'sends output at this rate, in bytes a second',
  stage: 'rate',
  takes: 'everything',
  needsFrames: false,
  parameters: { bandwidth: { kind: sizeUpTo(maxBandwidth), default: 1024 } },
  make(values, context) {
    const perMillisecond = values.bandwidth / 1000;
    /** The unused fraction of a byte. */
    let rest = 0;
    const nextSize = (elapsed: number) => {
      // A pause of the process must not end in a burst.
      const paid = rest + Math.min(elapsed, maxCatchUp) * perMillisecond;
      rest = paid % 1;
      return Math.floor(paid);
    };
    return newSlowLine(bandwidthInterval, nextSize, context);
  },
});

const maxCatchUp = 10 * bandwidthInterval;

const drip = defineFault({
  name: 'drip',
  sentence: 'sends output byte by byte, waiting this time before each',
  stage: 'rate',
  takes: 'everything',
  needsFrames: false,
  parameters: { drip: { kind: duration, default: 10 } },
  make: (values, context) => newSlowLine(Math.max(1, values.drip), () => 1, context),
});

export const timeFaults: readonly FaultKind[] = [delay, bandwidth, drip, stall];
