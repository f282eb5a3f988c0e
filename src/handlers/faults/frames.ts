/** Frame faults: after a message they send frames that break a rule or test a client's limits. */

import type { Kind } from '../../options/values.ts';
import { Opcode } from '../../protocol/codes.ts';
import { fragmentInterval, maxBomb, maxFaultyFragment } from '../../protocol/faultLimits.ts';
import { FIN } from '../../protocol/websocket/frame.ts';
import * as broken from './brokenFrames.ts';
import { type ActiveFault, defineFault, type FaultContext, type FaultKind } from './fault.ts';
import { sizeUpTo } from './parameters.ts';
import { isCloseFrame, isControlFrame } from './pieces.ts';

const common = { stage: 'frames', takes: 'none' } as const;

/** A fault that sends these bytes after each message. @param make a new copy: its receiver may change it */
function sends(name: string, sentence: string, make: (context: FaultContext) => Buffer): FaultKind {
  return defineFault({
    ...common,
    name,
    sentence,
    make: (_, context) => ({ act: () => context.send('bytes', make(context)) }),
  });
}

/** Like `sends`, followed by silence: the client would read later bytes as the rest of the frame. */
function endsIn(name: string, sentence: string, make: () => Buffer): FaultKind {
  return defineFault({
    ...common,
    name,
    sentence,
    make(_, context) {
      let isSilent = false;
      return {
        get isDone() {
          return isSilent;
        },
        act() {
          isSilent = true;
          context.send('bytes', make());
        },
        pass(piece) {
          if (!isSilent || piece.kind === 'end') context.emit(piece);
        },
      };
    },
  });
}

/** The opcodes that RFC 6455 §5.2 reserves. */
const reservedOpcode: Kind<number> = {
  placeholder: 'N',
  expected: 'a reserved opcode: 3 to 7, or 11 to 15',
  parse: raw => (/^([3-7]|1[1-5])$/.test(String(raw)) ? Number(raw) : undefined),
  show: String,
};

const reserved = defineFault({
  ...common,
  name: 'reserved-opcode',
  sentence: 'sends a frame with a reserved opcode',
  parameters: { 'reserved-opcode': { kind: reservedOpcode, default: 3 } },
  make: (values, context) => ({
    act: () => context.send('bytes', broken.reservedOpcode(values['reserved-opcode'])),
  }),
});

const bomb = defineFault({
  ...common,
  name: 'bomb',
  sentence: 'sends a small compressed message that inflates to this size',
  parameters: { bomb: { kind: sizeUpTo(maxBomb), default: 256 * 1024 * 1024 } },
  make(values, context) {
    const nextBomb = broken.newBombs(values.bomb);
    return {
      act() {
        // One turn may send thousands of messages, so each bomb waits until the socket has taken the last one.
        if (context.isWritable()) context.send('bytes', nextBomb());
      },
    };
  },
});

/** Fragments of one message until the connection closes. Control frames may pass between them; messages are dropped. */
function newEndlessFragments(size: number, context: FaultContext): ActiveFault {
  let hasBegun = false;
  let isOver = false;
  const next = () => {
    if (isOver) return;
    if (context.isWritable()) {
      const opcode = hasBegun ? Opcode.Continuation : Opcode.Text;
      context.send('bytes', broken.faultFrame(opcode, Buffer.alloc(size, '.')));
      hasBegun = true;
    }
    context.later(fragmentInterval, next);
  };
  return {
    get isDone() {
      return hasBegun || isOver;
    },
    act: next,
    pass(piece) {
      if (piece.kind === 'end' || isCloseFrame(piece)) isOver = true;
      if (!hasBegun || isOver || isControlFrame(piece)) context.emit(piece);
    },
    stop() {
      // Ends the message: the client can read the next one.
      if (hasBegun && !isOver) context.send('bytes', broken.faultFrame(FIN | Opcode.Continuation, ''));
    },
  };
}

const endlessFragments = defineFault({
  ...common,
  name: 'endless-fragments',
  sentence: 'sends an endless message: 100 fragments of this size a second',
  parameters: { 'endless-fragments': { kind: sizeUpTo(maxFaultyFragment), default: 16 * 1024 } },
  make: (values, context) => newEndlessFragments(values['endless-fragments'], context),
});

const isCompressed = ({ connection }: FaultContext) => connection.endpoint?.deflater !== undefined;

export const frameFaults: readonly FaultKind[] = [
  sends('masked', 'sends a masked frame', ({ random }) => broken.masked(random.below(2 ** 32))),
  sends('rsv1', 'sends a text with RSV1; with compression, a ping with RSV1', context =>
    broken.rsv1(isCompressed(context)),
  ),
  sends('rsv2', 'sends a frame with RSV2', broken.rsv2),
  sends('rsv3', 'sends a frame with RSV3', broken.rsv3),
  reserved,
  sends('long-length-16', 'sends a short frame whose length takes 2 further bytes', broken.longLength16),
  sends('long-length-64', 'sends a short frame whose length takes 8 further bytes', broken.longLength64),
  sends('top-bit-length', 'sends a 64-bit length with its highest bit set', broken.topBitLength),
  sends('terabyte', 'sends the header of a frame of 1 TB; later output becomes its payload', broken.terabyte),
  endsIn('half-header', 'sends half of a frame header, then nothing', broken.halfHeader),
  endsIn('half-frame', 'sends half of a frame, then nothing', broken.halfFrame),
  sends('fragmented-ping', 'sends a ping without FIN', broken.fragmentedPing),
  sends('long-ping', 'sends a ping of 126 bytes', broken.longPing),
  sends('lone-continuation', 'sends a continuation frame without a first fragment', broken.loneContinuation),
  sends('nested-message', 'begins a message before the last one is complete', broken.nestedMessage),
  sends('invalid-utf8', 'sends a text that is not UTF-8', broken.invalidUtf8),
  sends('split-utf8', 'splits a character between two fragments; this is valid', broken.splitUtf8),
  sends(
    'late-invalid-utf8',
    'sends a text of 1 KB in two fragments; its last byte is not UTF-8',
    broken.lateInvalidUtf8,
  ),
  sends('bad-deflate', 'sends a text with RSV1 and a payload that is not DEFLATE data', broken.badDeflate),
  bomb,
  sends('rsv1-continuation', 'sends a message with RSV1 on its second fragment', broken.rsv1Continuation),
  endlessFragments,
];
