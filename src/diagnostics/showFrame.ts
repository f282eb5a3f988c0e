/** A frame as people and programs are shown it: which way it went, its header, and the beginning of its payload. */
import { StringDecoder } from 'node:string_decoder';
import type { LogFields } from '../log/log.ts';
import { printableJson } from '../log/printable.ts';
import { Opcode } from '../protocol/codes.ts';

/** As curl has it, for us: `<` came from the peer, `>` goes to it. */
export type Way = '<' | '>';

export interface ShownFrame {
  readonly way: Way;
  /** The frame's first byte, FIN, RSV1 and opcode; `undefined` for bytes of a wire that has no frames. */
  readonly first: number | undefined;
  /** Bytes of its payload, of which `head` has the first, as they were meant: not masked. */
  readonly length: number;
  readonly head: Buffer;
}

const FIN = 0x80;
const RSV1 = 0x40;

const names: Readonly<Record<number, string>> = {
  [Opcode.Continuation]: 'continuation',
  [Opcode.Text]: 'text',
  [Opcode.Binary]: 'binary',
  [Opcode.Close]: 'close',
  [Opcode.Ping]: 'ping',
  [Opcode.Pong]: 'pong',
};

/** For the log: the same as `showFrame` says. */
export function frameFields(frame: ShownFrame): LogFields {
  const { way, first, length } = frame;
  const shown = showHead(frame);
  return {
    way,
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
  const { way, first, length, head } = frame;
  const name = nameOf(first);
  let line = `${way} ${name === 'bytes' ? '' : `${name}, `}${length} ${length === 1 ? 'byte' : 'bytes'}`;
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
  return first === undefined ? 'bytes' : (names[first & 0x0f] ?? `opcode ${first & 0x0f}`);
}

interface ShownHead {
  readonly code?: number;
  readonly text?: string;
  readonly hex?: string;
}

/** What is meant to be read, or looks so, as text, which ends where a character does; the rest as hexadecimal digits. */
function showHead({ first, head }: ShownFrame): ShownHead {
  const opcode = first === undefined ? undefined : first & 0x0f;
  if (opcode === Opcode.Close && head.length >= 2)
    return { code: head.readUInt16BE(), text: wholeCharacters(head.subarray(2)) };
  const isCompressed = first !== undefined && (first & RSV1) !== 0;
  if (opcode === Opcode.Text && !isCompressed) return { text: wholeCharacters(head) };
  if (opcode === Opcode.Binary || isCompressed) return { hex: head.toString('hex') };
  const text = wholeCharacters(head);
  const isText = !/[\0-\x08\x0e-\x1f\ufffd]/.test(text);
  return isText ? { text } : { hex: head.toString('hex') };
}

function wholeCharacters(bytes: Buffer): string {
  return new StringDecoder('utf8').write(bytes);
}
