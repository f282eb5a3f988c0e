/** Faults of the closing handshake, and of the end of TCP (RFC 6455 §7). */
import { closeConnection } from '../../core/close.ts';
import { noteEnding } from '../../diagnostics/closeReason.ts';
import { duration, type Kind } from '../../options/values.ts';
import { CloseCode, Opcode } from '../../protocol/codes.ts';
import { maxCloseReason } from '../../protocol/limits.ts';
import { FIN } from '../../protocol/websocket/frame.ts';
import { faultFrame } from './brokenFrames.ts';
import { type ActiveFault, defineFault, type End, type FaultContext, type FaultKind } from './fault.ts';
import { delays } from './waitingLine.ts';

const common = { stage: 'closing', takes: 'none' } as const;

/** A fault that acts once: sends this close frame instead of the server's, and closes the connection. */
function closesWith(payload: Buffer, code: number, reason: string, context: FaultContext): ActiveFault {
  const { connection, words } = context;
  let isClosed = false;
  return {
    get isDone() {
      return isClosed;
    },
    act() {
      isClosed = true;
      context.send('frame', faultFrame(FIN | Opcode.Close, payload));
      // Now, because the first reason counts, and a quick client may answer before the timer fires.
      noteEnding(connection, 'server', `the fault ${words} closed it`, { cause: 'fault' });
      // Later, because the server is writing now.
      context.later(0, () => closeConnection(connection, code, reason));
    },
    pass(piece) {
      if (!isClosed || piece.kind === 'end') context.emit(piece);
    },
  };
}

function codeAndText(code: number, text: string | Uint8Array): Buffer {
  return Buffer.concat([
    Buffer.of(code >> 8, code & 0xff),
    typeof text === 'string' ? Buffer.from(text) : text,
  ]);
}

/** A fault that acts once: ends the output. */
function ends(how: End, context: FaultContext): ActiveFault {
  let isDone = false;
  return {
    get isDone() {
      return isDone;
    },
    act() {
      isDone = true;
      context.end(how);
    },
  };
}

function endsWith(name: string, sentence: string, how: End): FaultKind {
  return defineFault({
    ...common,
    name,
    sentence,
    needsFrames: false,
    make: (_, context) => ends(how, context),
  });
}

const anyCode: Kind<number> = {
  placeholder: 'CODE',
  expected: 'a number from 0 to 65535, even a forbidden code',
  parse: raw => (/^\d{1,5}$/.test(String(raw)) && Number(raw) < 65_536 ? Number(raw) : undefined),
  show: String,
};

const anyReason: Kind<string> = {
  placeholder: 'TEXT',
  expected: `a text of at most ${maxCloseReason} bytes`,
  parse: raw => (typeof raw === 'string' && Buffer.byteLength(raw) <= maxCloseReason ? raw : undefined),
  show: reason => reason,
};

const close = defineFault({
  ...common,
  name: 'close',
  sentence: 'closes with this code and reason, even forbidden ones',
  parameters: {
    close: { kind: anyCode, default: CloseCode.NormalClosure },
    reason: { kind: anyReason, default: '' },
  },
  make: ({ close: code, reason }, context) => closesWith(codeAndText(code, reason), code, reason, context),
});

const closeOneByte = defineFault({
  ...common,
  name: 'close-one-byte',
  sentence: 'sends a close frame with half of a code',
  make: (_, context) => closesWith(Buffer.of(3), CloseCode.NormalClosure, '', context),
});

const closeBadReason = defineFault({
  ...common,
  name: 'close-bad-reason',
  sentence: 'closes with a reason that is not UTF-8',
  make(_, context) {
    const code = CloseCode.NormalClosure;
    return closesWith(codeAndText(code, Buffer.of(0x62, 0x61, 0x64, 0xff)), code, 'bad', context);
  },
});

/** Whether the server's close frame answers the peer's. */
const isAnswer = ({ connection }: FaultContext) => connection.ending?.received !== undefined;

const noCloseAnswer = defineFault({
  ...common,
  name: 'no-close-answer',
  sentence: 'does not answer a close frame, and keeps TCP open until --close-timeout',
  takes: 'closes',
  make(_, context) {
    let isSilent = false;
    return {
      take(piece) {
        isSilent = isAnswer(context);
        if (!isSilent) context.emit(piece);
      },
      pass(piece) {
        if (!isSilent) context.emit(piece);
      },
    };
  },
});

const lateCloseAnswer = defineFault({
  name: 'late-close-answer',
  sentence: 'answers a close frame after this time, unless --close-timeout ends TCP first',
  stage: 'time',
  takes: 'closes',
  parameters: { 'late-close-answer': { kind: duration, default: 1000 } },
  make(values, context) {
    const late = delays(context, () => values['late-close-answer']);
    return {
      ...late,
      take(piece) {
        if (isAnswer(context)) late.take(piece);
        else context.emit(piece);
      },
    };
  },
});

const dataAfterClose = defineFault({
  ...common,
  name: 'data-after-close',
  sentence: 'sends a text after each close frame',
  takes: 'closes',
  make: (_, context) => ({
    take(piece) {
      context.emit(piece);
      context.send('frame', faultFrame(FIN | Opcode.Text, 'data-after-close'));
    },
  }),
});

export const closingFaults: readonly FaultKind[] = [
  close,
  closeOneByte,
  closeBadReason,
  noCloseAnswer,
  lateCloseAnswer,
  dataAfterClose,
  endsWith('reset', 'resets the TCP connection (RST)', 'reset'),
  endsWith('fin', 'ends TCP without a close frame (FIN), and stops reading', 'fin'),
  endsWith('half-close', 'ends its direction of TCP (FIN), and keeps reading', 'half-close'),
];
