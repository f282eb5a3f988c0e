/**
 * Frames as people and programs see them, and the trace: each frame of the traced connections becomes a log event (`frame`)
 * when it arrives or is queued.
 */
import { StringDecoder } from 'node:string_decoder';
import { type LogFields, log } from '../log/log.ts';
import { printableJson, printableLine } from '../log/printable.ts';
import { Opcode, opcodeNames } from '../protocol/codes.ts';
import { redactMessage } from '../protocol/http/redact.ts';
import { FIN, frameEnd, payloadStart, RSV1 } from '../protocol/websocket/frame.ts';
import { addTap, removeTap, type Tap, type Tapped, type Taps } from './tap.ts';

/** As in curl: `<` was received, `>` is sent. */
export type FrameDirection = '<' | '>';

export interface ShownFrame {
  readonly direction: FrameDirection;
  /** The frame's first byte: FIN, RSV1 and opcode. `undefined` for bytes of a wire without frames. */
  readonly first: number | undefined;
  /** The length of the payload. */
  readonly length: number;
  /** The beginning of the payload, unmasked. */
  readonly head: Buffer;
}

/** The fields of the log event. */
function frameFields(frame: ShownFrame): LogFields {
  const { direction, first, length } = frame;
  const shown = showHead(frame);
  return {
    way: direction,
    opcode: nameOf(first),
    length,
    fin: first === undefined ? undefined : (first & FIN) !== 0,
    compressed: first === undefined ? undefined : (first & RSV1) !== 0,
    code: shown.code,
    text: shown.text,
    hex: shown.hex,
  };
}

/** One printable line: `< text, 5 bytes: "hello"`. */
export function showFrame(frame: ShownFrame): string {
  const { direction, first, length, head } = frame;
  const name = nameOf(first);
  let line = `${direction} ${name === 'bytes' ? '' : `${name}, `}${length} ${length === 1 ? 'byte' : 'bytes'}`;
  if (first !== undefined && (first & RSV1) !== 0) line += ', compressed';
  if (first !== undefined && (first & FIN) === 0) line += ', more follows';
  const { code, text, hex } = showHead(frame);
  const parts = [
    ...(code === undefined ? [] : [String(code)]),
    ...(text === undefined || text === '' ? [] : [printableJson(text)]),
    ...(hex === undefined || hex === '' ? [] : [hex]),
  ];
  if (parts.length === 0) return line;
  return `${line}: ${parts.join(' ')}${head.length < length ? ' …' : ''}`;
}

function nameOf(first: number | undefined): string {
  return first === undefined ? 'bytes' : (opcodeNames.get(first & 0x0f) ?? `opcode ${first & 0x0f}`);
}

interface ShownHead {
  readonly code?: number;
  readonly text?: string;
  readonly hex?: string;
}

/** Text, up to the last whole character, if the bytes are text or look like it; otherwise hexadecimal digits. */
function showHead({ first, head }: ShownFrame): ShownHead {
  const opcode = first === undefined ? undefined : first & 0x0f;
  if (opcode === Opcode.Close && head.length >= 2)
    return { code: head.readUInt16BE(), text: wholeCharacters(head.subarray(2)) };
  const isCompressed = first !== undefined && (first & RSV1) !== 0;
  if (opcode === Opcode.Text && !isCompressed) return { text: redactMessage(wholeCharacters(head)) };
  if (opcode === Opcode.Binary || isCompressed) return { hex: head.toString('hex') };
  const text = wholeCharacters(head);
  const isText = !/[\0-\x08\x0e-\x1f\ufffd]/.test(text);
  return isText ? { text: redactMessage(text) } : { hex: head.toString('hex') };
}

function wholeCharacters(bytes: Buffer): string {
  return new StringDecoder('utf8').write(bytes);
}

/** How many bytes of a payload the trace shows. */
const shownSize = 48;

/**
 * A tap that sees the frames of both directions and, on a wire without frames, the bytes.
 * @param onFrame owns the frame, whose `head` is a copy of at most `headSize` bytes
 */
export function newFrameTap(onFrame: (connection: Tapped, frame: ShownFrame) => void, headSize: number): Tap {
  return {
    read(connection, first, { bytes, start, end, length, key }) {
      const head = Buffer.from(bytes.subarray(start, Math.min(end, start + headSize)));
      for (let i = 0; i < head.length; i++) head[i]! ^= key >>> (8 * (i & 3));
      onFrame(connection, { direction: '<', first, length, head });
    },

    sent(connection, bytes, start, end) {
      const isFramed = connection.endpoint !== undefined;
      for (let at = start; at < end; ) {
        const next = isFramed ? frameEnd(bytes, at) : end;
        const payload = isFramed ? payloadStart(bytes, at) : at;
        const head = Buffer.from(bytes.subarray(payload, Math.min(next, payload + headSize)));
        const first = isFramed ? bytes[at]! : undefined;
        onFrame(connection, { direction: '>', first, length: next - payload, head });
        at = next;
      }
    },
  };
}

/** Which connections of a server are traced. */
export interface Trace {
  readonly taps: Taps;
  readonly tap: Tap;
  isEveryone: boolean;
  readonly ids: Set<number>;
}

export function newTrace(taps: Taps): Trace {
  const ids = new Set<number>();
  const tap: Tap = {
    ...newFrameTap(traceFrame, shownSize),
    fault: ({ id }, fault) => log('info', 'fault', { id, fault }, `id=${id} ! ${printableLine(fault)}`),
    ended: ({ id }) => void ids.delete(id),
  };
  return { taps, tap, isEveryone: false, ids };
}

/**
 * Traces one connection, or all, including future ones; or stops all tracing. The trace of a connection ends with the
 * connection: the next owner of its id is not traced.
 */
export function traceConnection(trace: Trace, which: number | 'all' | 'off'): void {
  const { taps, tap, ids } = trace;
  if (typeof which === 'number') {
    if (trace.isEveryone) return;
    ids.add(which);
    addTap(taps, which, tap);
    return;
  }
  for (const id of ids) removeTap(taps, id, tap);
  ids.clear();
  trace.isEveryone = which === 'all';
  if (trace.isEveryone) addTap(taps, 'all', tap);
  else removeTap(taps, 'all', tap);
}

export function tracedConnections({ isEveryone, ids }: Trace): 'all' | readonly number[] {
  return isEveryone ? 'all' : [...ids];
}

function traceFrame({ id }: Tapped, frame: ShownFrame): void {
  log('info', 'frame', { id, ...frameFields(frame) }, `id=${id} ${showFrame(frame)}`);
}
