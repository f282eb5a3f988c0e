/** Ping faults: a server's mistakes with pings and pongs (RFC 6455 §5.5.2 and §5.5.3). */

import { duration } from '../../options/values.ts';
import { Opcode } from '../../protocol/codes.ts';
import { floodInterval, maxPingFlood, pingsAtOnce } from '../../protocol/faultLimits.ts';
import { FIN } from '../../protocol/websocket/frame.ts';
import { faultFrame } from './brokenFrames.ts';
import { type ActiveFault, defineFault, type FaultContext, type FaultKind } from './fault.ts';
import { wholeNumber } from './parameters.ts';
import { isCloseFrame } from './pieces.ts';
import { newTimedLine, releaseAll } from './waitingLine.ts';

const noPong = defineFault({
  name: 'no-pong',
  sentence: 'does not answer pings',
  stage: 'pings',
  takes: 'pongs',
  make: () => ({ take() {} }),
});

const latePong = defineFault({
  name: 'late-pong',
  sentence: 'answers pings after this time',
  stage: 'pings',
  takes: 'pongs',
  parameters: { 'late-pong': { kind: duration, default: 1000 } },
  make(values, context) {
    const line = newTimedLine(context);
    return {
      take: piece => line.addLate(piece, values['late-pong']),
      pass(piece) {
        // Nothing may follow a close frame.
        if (piece.kind === 'end' || isCloseFrame(piece)) line.clear();
        context.emit(piece);
      },
      held: line.held,
      stop: () => releaseAll(line, context),
    };
  },
});

const wrongPong = defineFault({
  name: 'wrong-pong',
  sentence: 'answers pings with pongs that have another payload',
  stage: 'pings',
  takes: 'pongs',
  make: (_, context) => ({
    take: () => context.send('frame', faultFrame(FIN | Opcode.Pong, 'wrong-pong')),
  }),
});

const unaskedPong = defineFault({
  name: 'unasked-pong',
  sentence: 'sends a pong without a ping; this is valid',
  stage: 'pings',
  takes: 'none',
  make: (_, context) => ({
    act: () => context.send('frame', faultFrame(FIN | Opcode.Pong, 'unasked-pong')),
  }),
});

/** Pings as fast as the socket takes them, in bursts. The server serves other connections between the bursts. */
function newPingFlood(count: number, context: FaultContext): ActiveFault {
  let sent = 0;
  let due = 0;
  let isOver = false;
  let isWaiting = false;
  const next = () => {
    isWaiting = false;
    if (context.isWritable()) {
      const until = Math.min(due, sent + pingsAtOnce);
      for (; sent < until && !isOver; sent++)
        context.send('frame', faultFrame(FIN | Opcode.Ping, `ping-flood ${sent + 1}`));
    }
    if (isOver || sent === due) return;
    isWaiting = true;
    context.later(floodInterval, next);
  };
  return {
    act() {
      due = Math.min(due + count, sent + maxPingFlood);
      if (!isWaiting) next();
    },
    pass(piece) {
      if (piece.kind === 'end' || isCloseFrame(piece)) isOver = true;
      context.emit(piece);
    },
  };
}

const pingFlood = defineFault({
  name: 'ping-flood',
  sentence: 'sends this many pings at once',
  stage: 'pings',
  takes: 'none',
  parameters: { 'ping-flood': { kind: wholeNumber(1, maxPingFlood), default: 1000 } },
  make: (values, context) => newPingFlood(values['ping-flood'], context),
});

export const pingFaults: readonly FaultKind[] = [noPong, latePong, wrongPong, unaskedPong, pingFlood];
