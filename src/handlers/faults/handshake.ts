/** Faults of the opening handshake. A client must check the response for them (RFC 6455 §4.1, RFC 9112 §6). */

import { duration, type Kind } from '../../options/values.ts';
import { Opcode } from '../../protocol/codes.ts';
import { maxFaultText, maxGarbage, maxHugeHeader } from '../../protocol/faultLimits.ts';
import { isToken } from '../../protocol/http/fields.ts';
import { encodeResponse } from '../../protocol/http/head.ts';
import { FIN } from '../../protocol/websocket/frame.ts';
import { faultFrame } from './brokenFrames.ts';
import { defineFault, type FaultContext, type FaultKind, type Piece } from './fault.ts';
import { sizeUpTo } from './parameters.ts';
import { newWaitingLine, releaseAll } from './waitingLine.ts';

const common = { stage: 'handshake', takes: 'response' } as const;

/** A fault that changes the lines of the response: the status line, then the fields. */
function changesLines(
  name: string,
  sentence: string,
  change: (lines: readonly string[], context: FaultContext) => readonly string[],
): FaultKind {
  return defineFault({
    ...common,
    name,
    sentence,
    make: (_, context) => ({
      take: piece => context.emit(withLines(piece, lines => change(lines, context))),
    }),
  });
}

function withLines(piece: Piece, change: (lines: readonly string[]) => readonly string[]): Piece {
  const lines = piece.bytes.toString('latin1').split('\r\n').slice(0, -2);
  return { ...piece, bytes: Buffer.from(`${change(lines).join('\r\n')}\r\n\r\n`, 'latin1') };
}

const isField = (name: string) => (line: string) => line.toLowerCase().startsWith(`${name}:`);
const isAccept = isField('sec-websocket-accept');
const without = (lines: readonly string[], name: string) => lines.filter(line => !isField(name)(line));

/** A fault that replaces the response and discards all later output. @param act sends the replacement */
function replacesOutput(act: (piece: Piece) => void) {
  let isOver = false;
  return {
    take(piece: Piece) {
      isOver = true;
      act(piece);
    },
    pass(_piece: Piece) {
      // Not even the end of the output passes: the server's deadlines or the client end the connection.
    },
    get isDone() {
      return isOver;
    },
  };
}

/** The value of a header field: one line. */
const fieldText: Kind<string> = {
  placeholder: 'TEXT',
  expected: `a text of 1 to ${maxFaultText} printable ASCII characters`,
  parse: raw =>
    typeof raw === 'string' && raw.length <= maxFaultText && /^[ -~]+$/.test(raw) ? raw : undefined,
  show: text => text,
};

const subprotocol: Kind<string> = {
  ...fieldText,
  placeholder: 'NAME',
  expected: 'the name of a subprotocol, a token of HTTP',
  parse: raw => (typeof raw === 'string' && raw.length <= maxFaultText && isToken(raw) ? raw : undefined),
};

const bodyText: Kind<string> = {
  placeholder: 'TEXT',
  expected: `a text of at most ${maxFaultText} characters`,
  parse: raw => (typeof raw === 'string' && raw.length <= maxFaultText ? raw : undefined),
  show: text => text,
};

const httpStatus: Kind<number> = {
  placeholder: 'N',
  expected: 'an HTTP status from 200 to 599',
  parse: raw => (/^[2-5]\d\d$/.test(String(raw)) ? Number(raw) : undefined),
  show: String,
};

const status = defineFault({
  ...common,
  name: 'status',
  sentence: 'refuses the handshake with this HTTP status, a body and a Location',
  parameters: {
    status: { kind: httpStatus, default: 503 },
    body: { kind: bodyText, default: '' },
    location: { kind: fieldText, default: '' },
  },
  make({ status, body, location }, context) {
    const fields = {
      'Content-Type': 'text/plain; charset=utf-8',
      Connection: 'close',
      ...(location === '' ? {} : { Location: location }),
    };
    // RFC 9110 §15.3.5 and §15.4.5: 204 and 304 have no content.
    const content = status === 204 || status === 304 ? '' : body;
    return replacesOutput(() => {
      context.send('bytes', encodeResponse(status, fields, content));
      context.end('fin');
    });
  },
});

const unaskedSubprotocol = defineFault({
  ...common,
  name: 'unasked-subprotocol',
  sentence: 'chooses a subprotocol that the client did not ask for',
  parameters: { 'unasked-subprotocol': { kind: subprotocol, default: 'unasked' } },
  make: (values, context) => ({
    take: piece =>
      context.emit(
        withLines(piece, lines => [
          ...without(lines, 'sec-websocket-protocol'),
          `Sec-WebSocket-Protocol: ${values['unasked-subprotocol']}`,
        ]),
      ),
  }),
});

const unaskedExtension = defineFault({
  ...common,
  name: 'unasked-extension',
  sentence: 'accepts an extension that the client did not offer',
  parameters: { 'unasked-extension': { kind: fieldText, default: 'x-unasked' } },
  make: (values, context) => ({
    take: piece =>
      context.emit(
        withLines(piece, lines => [...lines, `Sec-WebSocket-Extensions: ${values['unasked-extension']}`]),
      ),
  }),
});

const dripHandshake = defineFault({
  name: 'drip-handshake',
  // This stage follows all faults that change the response.
  stage: 'rate',
  takes: 'response',
  sentence: 'sends the response byte by byte, waiting this time in between',
  parameters: { 'drip-handshake': { kind: duration, default: 10 } },
  make(values, context) {
    let response: Buffer | undefined;
    /** Output that the server writes during the drip. */
    const line = newWaitingLine();
    const release = () => {
      if (response !== undefined) context.send('bytes', response);
      response = undefined;
      releaseAll(line, context);
    };
    const drip = () => {
      if (response === undefined || response.length <= 1) return release();
      context.send('bytes', response.subarray(0, 1));
      response = response.subarray(1);
      context.later(values['drip-handshake'], drip);
    };
    return {
      take({ bytes }) {
        response = bytes;
        drip();
      },
      pass(piece) {
        if (response === undefined) context.emit(piece);
        else line.add(piece);
      },
      held: () => (response?.length ?? 0) + line.held(),
      stop: release,
    };
  },
});

const earlyFrame = defineFault({
  ...common,
  name: 'early-frame',
  sentence: 'sends a text in the same TCP segment as the response; this is valid',
  make: (_, context) => ({
    take(piece) {
      context.emit(piece);
      context.send('frame', faultFrame(FIN | Opcode.Text, 'early-frame'));
    },
  }),
});

const hugeHeader = defineFault({
  ...common,
  name: 'huge-header',
  isSingle: true,
  sentence: 'adds a field of this size to the response',
  parameters: { 'huge-header': { kind: sizeUpTo(maxHugeHeader), default: 64 * 1024 } },
  make: (values, context) => ({
    take: piece =>
      context.emit(withLines(piece, lines => [...lines, `X-Huge: ${'x'.repeat(values['huge-header'])}`])),
  }),
});

const garbage = defineFault({
  ...common,
  name: 'garbage',
  sentence: 'answers with this many random bytes instead of HTTP, then nothing',
  parameters: { garbage: { kind: sizeUpTo(maxGarbage), default: 512 } },
  make: (values, context) =>
    replacesOutput(() => context.send('bytes', context.random.bytes(values.garbage))),
});

/** A fault that closes TCP in both directions. @param share the fraction of the response to send first */
function drops(name: string, sentence: string, share: number): FaultKind {
  return defineFault({
    ...common,
    name,
    sentence,
    make: (_, context) =>
      replacesOutput(({ bytes }) => {
        context.send('bytes', bytes.subarray(0, Math.floor(bytes.length * share)));
        context.end('drop');
      }),
  });
}

export const handshakeFaults: readonly FaultKind[] = [
  changesLines('wrong-accept', 'sends the Sec-WebSocket-Accept of another key', (lines, { random }) =>
    lines.map(line =>
      isAccept(line) ? `Sec-WebSocket-Accept: ${random.bytes(20).toString('base64')}` : line,
    ),
  ),
  changesLines('no-accept', 'leaves out Sec-WebSocket-Accept', lines =>
    without(lines, 'sec-websocket-accept'),
  ),
  changesLines('double-accept', 'sends Sec-WebSocket-Accept twice', lines => [
    ...lines,
    ...lines.filter(isAccept),
  ]),
  changesLines('no-upgrade', 'leaves out the field Upgrade', lines => without(lines, 'upgrade')),
  status,
  unaskedSubprotocol,
  unaskedExtension,
  dripHandshake,
  earlyFrame,
  hugeHeader,
  garbage,
  defineFault({
    ...common,
    name: 'silence',
    sentence: 'never answers the handshake',
    make: () => replacesOutput(() => {}),
  }),
  drops('drop-before', 'closes TCP before the response', 0),
  drops('drop-during', 'closes TCP in the middle of the response', 0.5),
  drops('drop-after', 'closes TCP after the response', 1),
];
