/** Order faults lose, repeat, swap or cut messages. TCP alone never does that. */

import { choice } from '../../options/values.ts';
import { defineFault, type FaultKind, type Piece } from './fault.ts';
import { isCloseFrame, isDataFrame } from './pieces.ts';

const drop = defineFault({
  name: 'drop',
  sentence: 'loses messages',
  stage: 'order',
  takes: 'messages',
  make: () => ({ take() {} }),
});

const double = defineFault({
  name: 'double',
  sentence: 'sends messages twice',
  stage: 'order',
  takes: 'messages',
  isSingle: true,
  make: (_, context) => ({
    take(piece) {
      context.emit({ ...piece, bytes: Buffer.from(piece.bytes) });
      context.emit(piece);
    },
  }),
});

const swap = defineFault({
  name: 'swap',
  sentence: 'sends a message after the next one',
  stage: 'order',
  takes: 'messages',
  make(_, context) {
    let kept: Piece | undefined;
    const release = () => {
      if (kept !== undefined) context.emit(kept);
      kept = undefined;
    };
    return {
      take(piece) {
        if (kept === undefined) {
          kept = piece;
          return;
        }
        context.emit(piece);
        release();
      },
      pass(piece) {
        // No message may follow a close frame, and none can follow the end.
        if (piece.kind === 'end' || isCloseFrame(piece)) release();
        context.emit(piece);
        if (isDataFrame(piece)) release();
      },
      held: () => kept?.bytes.length ?? 0,
      stop: release,
    };
  },
});

const cut = defineFault({
  name: 'cut',
  sentence: 'ends TCP in the middle of a message, with a FIN or a reset',
  stage: 'order',
  takes: 'messages',
  parameters: { cut: { kind: choice(['fin', 'reset'], 'HOW'), default: 'fin' } },
  make(values, context) {
    let isCut = false;
    return {
      get isDone() {
        return isCut;
      },
      take({ bytes }) {
        isCut = true;
        context.send('bytes', bytes.subarray(0, Math.ceil(bytes.length / 2)));
        context.end(values.cut);
      },
      pass(piece) {
        if (!isCut) context.emit(piece);
      },
    };
  },
});

export const orderFaults: readonly FaultKind[] = [drop, double, swap, cut];
