/**
 * A script: one session, line by line, in the form of the trace. It is written from the server's side: `<` is a frame that the
 * server receives, `>` one that it sends. The player (player.ts) can play either side; parse.ts reads the text:
 *
 *     < text "hello, {{name?}}"       `{{name?}}` matches any text, and keeps it as `name`; `{{?}}` keeps nothing
 *     > text "welcome, {{name}}"      the kept text
 *     < binary 00ff "abc" 01          hexadecimal digits and strings, in any order
 *     > text "ab" x 1000              the part before, repeated
 *     > ping "x"
 *     < close 1000                    with any reason; `< close` has any code, and `< close 1000 ""` no reason
 *     < text any                      any payload
 *     < any                           any frame
 *     > hex 8105 68656c6c6f           bytes as they are
 *     < end, > end                    the end of TCP's direction (FIN); `> drop` ends the connection at once
 *     wait 50ms
 *     repeat 3 as n … end             `{{n}}` is 1, 2, 3; without a number, until the peer does something else, or closes
 *     set name "ada"
 *     timeout 30s                     how long the lines below wait for a frame
 *     subprotocol chat                the client must offer it, and the server accepts it
 *     strict                          pings and pongs are frames like any other
 *
 * After the payload, options make a frame that breaks rules: `more` (FIN is 0), `rsv=N` (0 to 7; 4 is RSV1), `len=0|2|8` (bytes
 * of extended length), `says=N` (the length in the header), `key=HEX|none` (the masking key), `compressed`. A line of the
 * trace, such as `< text, 5 bytes: "hello"`, means the same.
 */

/** As in the trace: `<` is received by the server, `>` is sent by it. */
export type Direction = '<' | '>';

/** A part of a payload: bytes, the value of a variable, or any bytes, which a variable keeps if it has a name. */
export type PayloadPart = Buffer | { readonly variable: string } | { readonly capture: string };

/** The payload that is sent or awaited. */
export type PayloadPattern = readonly PayloadPart[];

/** The parts of a frame's header that differ from the usual form. */
export interface WrittenForm {
  /** RSV1 to RSV3, 0 to 7. */
  readonly rsv?: number;
  /** The masking key; `null`: not masked. */
  readonly key?: Buffer | null;
  /** Bytes of the extended length. */
  readonly lengthBytes?: 0 | 2 | 8;
  /** The length in the header. */
  readonly announcedLength?: bigint;
}

interface Line {
  /** Its number in the file, from 1. */
  readonly line: number;
  /** The line as written, without its indent and direction. */
  readonly source: string;
}

export interface FrameLine extends Line {
  readonly kind: 'frame';
  readonly direction: Direction;
  /** `undefined`: any frame. */
  readonly opcode: number | undefined;
  /** Of a close frame, with the bytes of the code. */
  readonly payload: PayloadPattern;
  /** A close frame without a string: if it is awaited, with any reason and, without a code, any code. */
  readonly isReasonFree: boolean;
  readonly isFinal: boolean;
  /** RSV1 is set, and the payload is compressed before it is sent. */
  readonly isCompressed: boolean;
  readonly form: WrittenForm;
}

/** Bytes that are sent as they are. */
export interface BytesLine extends Line {
  readonly kind: 'bytes';
  readonly direction: Direction;
  readonly bytes: Buffer;
}

/** `end`: the sender's FIN. `drop`: the sender closes the TCP connection at once. */
export type EndLine = Line & { readonly direction: Direction } & (
    | { readonly kind: 'end' }
    | { readonly kind: 'drop' }
  );

export interface RepeatBlock extends Line {
  readonly kind: 'repeat';
  /** Infinity: until the peer does something else, or closes. */
  readonly rounds: number;
  /** The variable with the number of the round, from 1. */
  readonly counter: string | undefined;
  readonly steps: readonly ScriptStep[];
}

export type ScriptStep =
  | FrameLine
  | BytesLine
  | EndLine
  | RepeatBlock
  | (Line & { readonly kind: 'wait'; readonly time: number })
  | (Line & { readonly kind: 'timeout'; readonly time: number })
  | (Line & { readonly kind: 'set'; readonly variable: string; readonly value: PayloadPattern });

export interface Script {
  readonly name: string;
  readonly steps: readonly ScriptStep[];
  /** Pings and pongs are frames like any other, even if no line awaits one. */
  readonly isStrict: boolean;
  /** The subprotocol that the client must offer, and the server accepts. */
  readonly subprotocol?: Line & { readonly token: string };
}
