/**
 * What a command is. They are all in one table (commands.ts); whoever calls one, from a shell, a script or over HTTP, gives
 * the same words and gets the same answer.
 */
import type { Server } from '../core/server.ts';
import type { Chat } from '../handlers/chat/room.ts';
import type { LogFields, LogLevel } from '../log/log.ts';
import type { DefaultPaths } from '../options/paths.ts';
import type { Kind } from '../options/values.ts';
import type { Changes } from './reload.ts';

/** A piece of work that fits in a turn. @returns the rest of the work */
export type Task = () => Task | undefined;

/** The commands of one server that wait for their turn. */
export interface CommandQueue {
  readonly tasks: Task[];
  /** The tasks before this index have been run. */
  first: number;
}

/** What commands work on: the server, and what they may do to it as a whole. */
export interface Control {
  readonly server: Server;
  readonly chat: Chat;
  /** Commands that wait for their turn. */
  readonly queue: CommandQueue;
  readonly version: string;
  /** By the system's clock, in milliseconds. */
  readonly startedAt: number;
  /** Where things are when nobody says where. */
  readonly places: DefaultPaths;
  /** Reads the configuration again. @throws Error, a sentence; then nothing has changed */
  reload(): Promise<Changes>;
  /** Everyone is told, and the server ends when the last one has left. */
  drain(): void;
  /** Everyone is told, and the server ends at once. */
  stop(): void;
}

export interface Parameter {
  readonly kind: Kind<unknown>;
  readonly optional?: true;
  /** It takes all words that are left: with a space between them, or as a list. */
  readonly rest?: true | 'list';
  /** In place of it, bytes may be given (`--binary`). */
  readonly orBytes?: true;
  /** What people say to each other, or to a handler: not for the log. */
  readonly isPrivate?: true;
}

/** What was given, read by the parameters' kinds; `bytes` in place of the text. */
export type CallValues = Readonly<Record<string, unknown>> & { readonly bytes?: Buffer };

/** Where what a command says goes: each door has one for each call. */
export interface Answer {
  /** The way in, for the log: `control socket`, `HTTP`, `stdin`, `spool`. */
  readonly via: string;
  /** The client's address, or the spool's file. */
  readonly from?: string | undefined;
  readonly isJson: boolean;
  /** Nobody waits for it any more. */
  readonly isGone: boolean;
  /** More of what it says. */
  write(text: string): void;
  /** What was said so far is to be seen now, as more comes only when something happens. */
  flush(): void;
  /** Bytes that whoever waits has not taken yet, as near as can be told. */
  unsent(): number;
  /** That was all; or, with an error, what went wrong. Called once. */
  end(error?: Error): void;
  /** `then` is called when nobody waits any more, if that is before the end. */
  whenGone(then: () => void): void;
  /** `then` is called when the answer has been given. */
  afterwards(then: () => void): void;
}

/** A column of a table: how its values are shown as text, and how wide it is at least; negative: right-aligned. */
export interface Column {
  readonly width: number;
  /** Where it is not the value's name. */
  readonly title?: string;
  readonly show?: (value: never) => string;
}

/** How a command is logged. */
export interface Journal {
  readonly level: LogLevel;
  readonly done: string;
  readonly refused: string;
  readonly refusedLevel: LogLevel;
  /** What its result adds to the line; its plain values, if not given. */
  fields?(result: unknown): LogFields;
}

/** For a command that changes a connection or the server. */
export const administration: Journal = {
  level: 'info',
  done: 'command done',
  refused: 'command refused',
  refusedLevel: 'info',
};

/** For a command that says something, as clients do all the time: only who asks for the details gets a line for each. */
export const speech: Journal = { ...administration, level: 'debug', refusedLevel: 'debug' };

export interface Command {
  readonly name: string;
  /** In the order of the words. */
  readonly parameters: Readonly<Record<string, Parameter>>;
  /** One short line. */
  readonly help: string;
  /** Of a command that changes something. */
  readonly journal?: Journal;
  /** Of a command that gives rows. */
  readonly columns?: Readonly<Record<string, Column>>;
  /** It goes on until whoever called goes away: not for doors where nobody can. */
  readonly streams?: true;
  /**
   * Does it.
   * @returns what it says: a sentence, a record, or rows, one after the other, so that others get their turn between them;
   *   undefined where it speaks through `answer` itself
   * @throws ProtocolError, whose code is the HTTP status that fits, or UsageError: a sentence for whoever called
   */
  run(control: Control, values: CallValues, answer: Answer): unknown;
}

/** A command with what it is to be done with. */
export interface Call {
  readonly command: Command;
  readonly values: CallValues;
}
