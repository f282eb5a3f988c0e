/** The events that a player compares with its script: messages, control frames, and the end. */
import { printableJson } from '../log/printable.ts';
import { Opcode } from '../protocol/codes.ts';

export interface Received {
  /**
   * A whole message, a control frame, the end of the peer's direction (`end`), or a frame that broke a rule (`failed`). After
   * `failed`, the owner reads no more.
   */
  readonly kind: 'text' | 'binary' | 'ping' | 'pong' | 'close' | 'end' | 'failed';
  /** The payload, unmasked and inflated; for a close frame, including its code; for `failed` and `end`, the reason as text. */
  readonly bytes: Buffer;
}

const opcodeOf: Readonly<Record<Received['kind'], number | undefined>> = {
  text: Opcode.Text,
  binary: Opcode.Binary,
  ping: Opcode.Ping,
  pong: Opcode.Pong,
  close: Opcode.Close,
  end: undefined,
  failed: undefined,
};

/** @param opcode `undefined` for any */
export function isFrame({ kind }: Received, opcode: number | undefined): boolean {
  const received = opcodeOf[kind];
  return received !== undefined && (opcode === undefined || opcode === received);
}

/** Whether the peer can send no further messages. */
export function endsSession({ kind }: Received): boolean {
  return kind === 'close' || kind === 'end' || kind === 'failed';
}

/** Payload bytes in a description. */
const shownBytes = 100;

/** Describes the event as a line of a script: `text "hello"`, `close 1000 "bye"`. */
export function showReceived({ kind, bytes }: Received): string {
  const more = bytes.length > shownBytes ? '…' : '';
  const head = bytes.subarray(0, shownBytes);
  const text = (shown: Buffer) => `${printableJson(shown.toString())}${more}`;
  if (kind === 'end') return bytes.length === 0 ? 'end' : `end (${bytes.toString()})`;
  if (kind === 'failed') return `a frame that breaks a rule: ${bytes.toString()}`;
  if (bytes.length === 0) return kind === 'text' ? 'text ""' : kind;
  if (kind === 'close' && bytes.length === 1) return `close hex:${bytes.toString('hex')}`;
  if (kind === 'close') {
    const reason = bytes.length > 2 ? ` ${text(head.subarray(2))}` : '';
    return `close ${bytes.readUInt16BE()}${reason}`;
  }
  const isShownAsText =
    kind === 'text' || (kind !== 'binary' && /^[\x20-\x7e]*$/.test(head.toString('latin1')));
  return `${kind} ${isShownAsText ? text(head) : `${head.toString('hex')}${more}`}`;
}
