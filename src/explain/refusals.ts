/** A refused frame as one line: the broken rule, and the bytes of the frame. */
import { Buffer } from 'node:buffer';
import type { LogFields } from '../log/log.ts';
import { printableLine } from '../log/printable.ts';
import { flagName } from '../options/option.ts';
import { CloseCode } from '../protocol/codes.ts';
import { showPayload } from './frameLine.ts';
import { shownFrameBytes } from './rawBytes.ts';

/** The section of each rule that the decoder (protocol/websocket/) enforces, by the reason in its error. */
const sections: readonly (readonly [reason: RegExp, section: string])[] = [
  [/must mask|must not mask/, 'RFC 6455 §5.1'],
  [/is reserved$|^RSV2 and RSV3|no compression was negotiated|payload length/, 'RFC 6455 §5.2'],
  [/continuation frame without|new message before/, 'RFC 6455 §5.4'],
  [/^a control frame/, 'RFC 6455 §5.5'],
  [/half a close code/, 'RFC 6455 §5.5.1'],
  [/^close code/, 'RFC 6455 §7.4'],
  [/UTF-8|inside a character/, 'RFC 6455 §8.1'],
  [/^RSV1 must be 0 on/, 'RFC 7692 §6.1'],
  [/DEFLATE/, 'RFC 7692 §7.2.2'],
];

export interface RefusedFrame {
  readonly reason: string;
  /** The option whose limit was exceeded. */
  readonly option: string | undefined;
  /** The bytes of the frame if its header is invalid; otherwise empty, because another line shows the frame. */
  readonly bytes: Uint8Array;
}

/** Whether the header is invalid: the decoder reports every other protocol error after it has read a header. */
export function isHeaderRefused(code: number, headerSize: number): boolean {
  return headerSize === 0 && code === CloseCode.ProtocolError;
}

/** `< refused: a client must mask its frames (RFC 6455 §5.1); the bytes: 8100`, and the fields of the log event. */
export function refusalLine({ reason, option, bytes }: RefusedFrame): { text: string; fields: LogFields } {
  const section = sections.find(([pattern]) => pattern.test(reason))?.[1];
  const rule = section ?? (option === undefined ? undefined : flagName(option));
  const { hex, isCut } = shownFrameBytes(Buffer.from(bytes));
  const shownBytes = bytes.length === 0 ? '' : `; the bytes${showPayload({ hex, isCut })}`;
  return {
    text: `< refused: ${printableLine(reason)}${rule === undefined ? '' : ` (${rule})`}${shownBytes}`,
    fields: { way: '<', reason, rule, hex: bytes.length === 0 ? undefined : hex },
  };
}
