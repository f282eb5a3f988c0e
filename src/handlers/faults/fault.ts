/**
 * The contract of faults. A faulty socket (faultySocket.ts) cuts the output of a connection into pieces. Each piece passes the
 * connection's faults in the order of their stages. A fault can change, delay or drop a piece, and add others.
 */
import type { Kind } from '../../options/values.ts';
import type { Connection } from '../../records/records.ts';
import type { Random } from './random.ts';

/** A part of the output. */
export interface Piece {
  /**
   * `response`: the complete HTTP response that accepts the handshake. `frame`: one whole frame, well-formed unless a fault made
   * it. `bytes`: anything else. `end`: the end of the output, without bytes.
   */
  readonly kind: 'response' | 'frame' | 'bytes' | 'end';
  /** The fault that handles the piece may change them in place. */
  readonly bytes: Buffer;
  /** The number of messages that the server has sent on the connection, including this one. */
  readonly message: number;
  /** Only for `end`: how the output ends, and the words of the fault that ends it; undefined if the server ends it. */
  readonly end?: End;
  readonly fault?: string;
}

/**
 * How the output ends, after all earlier pieces. `fin`: FIN, and the server ends the connection. `half-close`: FIN, and the
 * server keeps reading. `reset`: RST. `drop`: closes both directions at once. `shutdown`: the FIN that the server itself sends.
 */
export type End = 'fin' | 'half-close' | 'reset' | 'drop' | 'shutdown';

/**
 * The stages, in the order in which a piece passes them. `handshake` changes the response; `pings`, `frames` and `closing` change
 * and add frames; `order` drops, repeats and swaps messages; `time` and `rate` delay output.
 */
export const stages = ['handshake', 'pings', 'frames', 'closing', 'order', 'time', 'rate'] as const;
export type Stage = (typeof stages)[number];

/**
 * The pieces that a fault takes: the response to the handshake, whole data frames, pongs, close frames, or every piece. A fault
 * that takes none acts between two messages.
 */
export type FaultTarget = 'response' | 'messages' | 'pongs' | 'closes' | 'everything' | 'none';

/** A fault of one connection. */
export interface ActiveFault {
  /** Handles a piece on which the fault acts: emits its replacement, now or later. By default the piece passes unchanged. */
  take?(piece: Piece): void;
  /** Handles every other piece. By default it passes at once; a fault that holds pieces back keeps their order here. */
  pass?(piece: Piece): void;
  /** Called after message number `after` and each later message, to send the fault's own frames. */
  act?(): void;
  /** The fault is finished and will not act again. */
  readonly isDone?: boolean;
  /** Bytes that the fault holds back. */
  held?(): number;
  /** Called when a command turns the fault off: emits all pieces that it holds. Its timers have been cleared. */
  stop?(): void;
}

/** The interface of a fault to its connection. */
export interface FaultContext {
  readonly connection: Connection;
  /** The fault as the user wrote it. */
  readonly words: string;
  /** This fault's own generator: other faults do not change its numbers. */
  readonly random: Random;
  /** Passes a piece to the next fault, or after the last fault to the network. */
  emit(piece: Piece): void;
  /** Emits bytes as one piece: a frame, or broken bytes. */
  send(kind: 'frame' | 'bytes', bytes: Buffer): void;
  /** Ends the output after all pieces emitted so far. */
  end(how: End): void;
  /** Calls `act` after at least this many milliseconds, unless the fault is turned off first. */
  later(milliseconds: number, act: () => void): void;
  /** Whether the socket can take more output. A fault that sends endlessly must wait for it. */
  isWritable(): boolean;
}

/** A parameter of a fault. The parameter with the fault's own name is its value: `delay=200ms`. */
export interface FaultParameter<T = unknown> {
  readonly kind: Kind<T>;
  readonly default: T;
}

export type FaultParameters = Readonly<Record<string, FaultParameter>>;

/** Values by parameter name, each of its kind's type. */
export type FaultValues<Parameters extends FaultParameters> = {
  readonly [Name in keyof Parameters]: Parameters[Name]['kind'] extends Kind<infer T> ? T : never;
};

/** A row of the table of faults. */
export interface FaultKind {
  readonly name: string;
  /** Completes the sentence "the fault …", without a full stop. */
  readonly sentence: string;
  readonly stage: Stage;
  readonly takes: FaultTarget;
  /** Whether the fault works on WebSockets only. */
  readonly needsFrames: boolean;
  /** Whether a connection can have it only once, because each further one would multiply the output. */
  readonly isSingle: boolean;
  readonly parameters: FaultParameters;
  make(values: Readonly<Record<string, unknown>>, context: FaultContext): ActiveFault;
}

/** A requested fault with its parameters. */
export interface FaultSetting {
  readonly kind: FaultKind;
  readonly values: Readonly<Record<string, unknown>>;
  /** The fault acts after this many messages of the server, with this probability each time, and at most `times` times. */
  readonly after: number;
  readonly chance: number;
  readonly times: number;
  /** The fault as the user wrote it, with the common words that apply to it: `close=1011 after=3`. */
  readonly words: string;
}

/** All faults of one connection. */
export interface FaultPlan {
  /** In the order of their stages. */
  readonly settings: readonly FaultSetting[];
  /** Undefined: each connection draws its own. */
  readonly seed: number | undefined;
}

/** Defines a row of the table; the compiler derives the types of `values` from `parameters`. */
export function defineFault<const Parameters extends FaultParameters>(
  kind: Omit<FaultKind, 'make' | 'parameters' | 'needsFrames' | 'isSingle'> & {
    readonly parameters?: Parameters;
    readonly needsFrames?: boolean;
    readonly isSingle?: boolean;
    make(values: FaultValues<Parameters>, context: FaultContext): ActiveFault;
  },
): FaultKind {
  const { parameters, needsFrames = true, isSingle = false, make, ...rest } = kind;
  return {
    ...rest,
    needsFrames,
    isSingle,
    parameters: parameters ?? {},
    make: (values, context) => make(values as FaultValues<Parameters>, context),
  };
}
