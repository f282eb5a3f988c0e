/**
 * A script describes one session, line by line, in the notation of the trace and from the server's side: the server receives `<`
 * frames and sends `>` frames. parse.ts reads the text, and the player (player.ts) can play either side:
 *
 *     < text "hello, {{name?}}"       `{{name?}}` matches any text and keeps it as `name`; `{{?}}` keeps nothing
 *     > text "welcome, {{name}}"      the text that `name` keeps
 *     < binary 00ff "abc" 01          hexadecimal digits and strings, in any order
 *     > text "ab" x 1000              repeats the part before it
 *     > ping "x"
 *     < close 1000                    any reason; `< close` matches any code, `< close 1000 ""` no reason
 *     < text any                      any payload
 *     < any                           any frame
 *     > hex 8105 68656c6c6f           raw bytes
 *     < end, > end                    the end of one direction of TCP (FIN); `> drop` drops the connection
 *     wait 50ms
 *     repeat 3 as n … end             `{{n}}` is 1, 2, 3; without a number, until the peer deviates or closes
 *     set name "ada"
 *     timeout 30s                     sets how long later lines wait for a frame
 *     subprotocol chat                the client must offer it, and the server accepts it
 *     strict                          pings and pongs are frames like any other
 *
 * Options after the payload change the frame, even into an invalid one: `more` (FIN is 0), `rsv=N` (0 to 7; 4 is RSV1),
 * `len=0|2|8` (bytes of the extended length), `says=N` (the length in the header), `key=HEX|none` (the masking key),
 * `compressed`. Lines of the trace, such as `< text, 5 bytes: "hello"`, are valid, too.
 */

/** As in the trace: the server receives `<` and sends `>`. */
export type Direction = '<' | '>';

/** A part of a payload: bytes, the value of a variable, or a capture: any bytes, kept in the named variable (empty: not kept). */
export type PayloadPart = Buffer | { readonly variable: string } | { readonly capture: string };

/** A payload to send or to await. */
export type PayloadPattern = readonly PayloadPart[];

/** The parts of a frame header that differ from the usual form. */
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
  /** The text of the line, without its indent and direction. */
  readonly source: string;
}

export interface FrameLine extends Line {
  readonly kind: 'frame';
  readonly direction: Direction;
  /** `undefined`: any frame. */
  readonly opcode: number | undefined;
  /** For a close frame, including the code. */
  readonly payload: PayloadPattern;
  /** Whether it is a close frame without a string. An awaited one matches any reason and, without a code, any code. */
  readonly isReasonFree: boolean;
  readonly isFinal: boolean;
  /** Whether to compress the payload and set RSV1. */
  readonly isCompressed: boolean;
  readonly form: WrittenForm;
}

/** Raw bytes to send. */
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
  /** Infinity: until the peer deviates or closes. */
  readonly rounds: number;
  /** The variable that counts the rounds, from 1. */
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
  /** Whether the script must await every ping and pong. */
  readonly isStrict: boolean;
  /** The subprotocol that the client must offer, and the server accepts. */
  readonly subprotocol?: Line & { readonly token: string };
}
