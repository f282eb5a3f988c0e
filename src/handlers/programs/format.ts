/**
 * What a program is told, and what it says: records on its stdin and stdout. In which form, its entry says; a program that
 * serves all connections (shared) has in each record the id of the connection that it is about.
 */
import type { ProgramFormat } from '../../options/program.ts';
import type { Message } from '../../protocol/websocket/message.ts';
import { newDelimitedFormat } from './delimited.ts';
import { newJsonFormat } from './json.ts';
import { newLengthFormat } from './length.ts';

/** One record of a program's. */
export interface Said {
  readonly what: 'text' | 'binary' | 'close';
  /** Ids, or everyone; empty where the program has one connection only. */
  readonly to: readonly number[] | 'all';
  /** The message, on loan; a text's is UTF-8. */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** Of a close: a code that may be sent, and the reason. */
  readonly code: number;
  readonly reason: string;
}

/** What the variables of a request are (see variables.ts), by name. */
export type Variables = Readonly<Record<string, string>>;

export interface Format {
  /** A record ends before this byte; `undefined` where records begin with their length. */
  readonly delimiter: number | undefined;
  /** Bytes before the payload, of which the first four are its length; 0 where there is a delimiter. */
  readonly headerSize: number;
  /** Bytes that a record may take for a message of `size`. */
  longest(size: number): number;
  /**
   * A message, as a record; `id` is the connection's where the program is shared.
   * @throws ProtocolError 1003 or 1007 where the format has no place for it
   */
  message(message: Message, id: number): Buffer;
  /** Someone came or left: for shared programs, in formats that have events. */
  opened?(id: number, variables: Variables): Buffer;
  closed?(id: number, code: number, reason: string): Buffer;
  /**
   * Reads the record `bytes[start, end)`, which is without its delimiter.
   * @returns `undefined` for a record that says nothing, such as a blank line between JSON objects
   * @throws Error, a sentence
   */
  read(bytes: Buffer, start: number, end: number): Said | undefined;
}

export function newFormat(format: ProgramFormat, isShared: boolean): Format {
  switch (format) {
    case 'line':
      return newDelimitedFormat(0x0a, 'lines', isShared);
    case 'null':
      return newDelimitedFormat(0x00, 'texts without a NUL', isShared);
    case 'length':
      return newLengthFormat(isShared);
    case 'json':
      return newJsonFormat(isShared);
  }
}
