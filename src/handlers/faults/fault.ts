/**
 * The contract of faults. A faulty socket (faultySocket.ts) cuts what the server sends on a connection into pieces. Each piece
 * passes through the connection's faults, in the order of their stages; a fault changes it, delays it, drops it, or adds
 * others.
 */
import type { Kind } from '../../options/values.ts';
import type { Connection } from '../../records/records.ts';
import type { Random } from './random.ts';

/** A part of the output. */
export interface Piece {
  /**
   * `response`: the HTTP response that accepts the handshake, complete. `frame`: one whole frame, well-formed if the server
   * made it. `bytes`: anything else. `end`: the end of the output, without bytes.
   */
  readonly kind: 'response' | 'frame' | 'bytes' | 'end';
  /** The fault that has the piece owns them, and may change them in place. */
  readonly bytes: Buffer;
  /** Messages that the server had sent on the connection, including this one. */
  readonly message: number;
  /** Only of `end`: how, and the fault that ends the output, as it was written; undefined if the server does. */
  readonly end?: End;
  readonly fault?: string;
}

/**
 * How the output ends, after all pieces before it. `fin`: FIN, and the server ends the connection. `half-close`: FIN, and
 * the server goes on reading. `reset`: RST. `drop`: both directions are closed at once. `shutdown`: the server itself sends
 * its FIN.
 */
export type End = 'fin' | 'half-close' | 'reset' | 'drop' | 'shutdown';

/**
 * The stages, in the order in which a piece passes through them: the handshake's response; pings and pongs, frames and
 * closing, which change and add frames; order, which drops, repeats and swaps them; time and rate, which delay them.
 */
export const stages = ['handshake', 'pings', 'frames', 'closing', 'order', 'time', 'rate'] as const;
export type Stage = (typeof stages)[number];

/**
 * Which pieces a fault takes: the response to the handshake; whole data frames; pongs; close frames; or every piece, `end`
 * included. A fault that takes none acts between two messages.
 */
export type FaultTarget = 'response' | 'messages' | 'pongs' | 'closes' | 'everything' | 'none';

/** A fault at work on one connection. */
export interface ActiveFault {
  /** Gets each piece on which the fault acts, and passes on what replaces it, now or later. Without it: the piece itself. */
  take?(piece: Piece): void;
  /** Gets all other pieces. Without it, they are passed on at once. A fault that holds pieces back keeps their order here. */
  pass?(piece: Piece): void;
  /** Called after message number `after` and after each later one: sends frames of its own. */
  act?(): void;
  /** It is finished, and acts no more. */
  readonly isDone?: boolean;
  /** Bytes that it holds back. */
  held?(): number;
  /** The fault is turned off while the connection goes on: passes on all that it holds. Its timers have ended. */
  stop?(): void;
}

/** What a fault works with. */
export interface FaultContext {
  readonly connection: Connection;
  /** The fault as it was written. */
  readonly words: string;
  /** This fault's own generator: what it draws depends only on the seed and on its own draws. */
  readonly random: Random;
  /** Passes a piece on to the next fault, or from the last one to the network. */
  emit(piece: Piece): void;
  /** Passes on bytes as one piece: a frame, or something broken. */
  send(kind: 'frame' | 'bytes', bytes: Buffer): void;
  /** Ends the output after all pieces that were passed on before. */
  end(how: End): void;
  /** Calls `act` after at least this many milliseconds, unless the fault has ended. */
  later(milliseconds: number, act: () => void): void;
  /** Whether the network takes more. A fault that sends without end waits until it does. */
  isWritable(): boolean;
}

/** A parameter of a fault. That with the fault's own name is its value: `delay=200ms`. */
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
  /** What it does, in a short sentence without a full stop. */
  readonly sentence: string;
  readonly stage: Stage;
  readonly takes: FaultTarget;
  /** It needs frames: it works on WebSockets only. */
  readonly needsFrames: boolean;
  /** A connection has it once: each further one would multiply the output. */
  readonly isSingle: boolean;
  readonly parameters: FaultParameters;
  make(values: Readonly<Record<string, unknown>>, context: FaultContext): ActiveFault;
}

/** A requested fault with its parameters. */
export interface FaultSetting {
  readonly kind: FaultKind;
  readonly values: Readonly<Record<string, unknown>>;
  /** It acts after this many messages of the server, with this probability each time, and at most `times` times. */
  readonly after: number;
  readonly chance: number;
  readonly times: number;
  /** As it was written, with all that applies to it: `close=1011 after=3`. */
  readonly words: string;
}

/** All faults of one connection. */
export interface FaultPlan {
  /** In the order of their stages. */
  readonly settings: readonly FaultSetting[];
  /** Undefined: each connection draws its own. */
  readonly seed: number | undefined;
}

/** A row, whose `make` gets values of its parameters' types. */
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
