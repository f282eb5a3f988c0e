/**
 * What a command is. All commands are in one table (commands.ts). A command takes the same parameters and gives the same
 * result in every way it can be sent: from a shell, over HTTP, through the spool, on stdin.
 */

import type { Channels } from '../handlers/channels/records.ts';
import type { Chat } from '../handlers/chat/room.ts';
import type { LogFields, LogLevel } from '../log/log.ts';
import type { DefaultPaths } from '../options/paths.ts';
import type { Kind } from '../options/values.ts';
import type { Server } from '../records/records.ts';
import type { Changes } from './reload.ts';

/** A piece of work that fits into a turn. @returns the rest of the work */
export type Task = () => Task | undefined;

/** Commands of one server that wait for their turn. */
export interface CommandQueue {
  readonly tasks: Task[];
  /** Index of the first task that has not run. */
  first: number;
}

/** What commands work on. */
export interface Control {
  readonly server: Server;
  readonly chat: Chat;
  readonly channels: Channels;
  readonly queue: CommandQueue;
  readonly version: string;
  /** Unix time in milliseconds. */
  readonly startedAt: number;
  /** Default paths. */
  readonly places: DefaultPaths;
  /** Reads the configuration again. @throws Error, a sentence; then nothing has changed */
  reload(): Promise<Changes>;
  /** Starts a graceful shutdown: no new clients; the server ends when all have left. */
  drain(): void;
  /** Closes all connections, and ends the server. */
  stop(): void;
}

export interface Parameter {
  readonly kind: Kind<unknown>;
  readonly optional?: true;
  /** On a command line it is an option, such as `--event NAME`, that may be left out. Commands with the same option share its kind. */
  readonly isOption?: true;
  /** Takes all remaining words: joined with spaces, or as a list. */
  readonly rest?: true | 'list';
  /** Bytes can be given instead (`--binary`). */
  readonly orBytes?: true;
  /** What people say to each other, or to a handler: never logged. */
  readonly isPrivate?: true;
  /** The parameter's name in earlier versions; JSON and forms may still use it. */
  readonly oldName?: string;
}

/** The parsed values by parameter name; `bytes` instead of a text. */
export type CallValues = Readonly<Record<string, unknown>> & { readonly bytes?: Buffer };

/** Where a command's output goes. Each way to send commands makes its own. */
export interface Reply {
  /** How the command came in, for the log: `control socket`, `HTTP`, `stdin`, `spool`. */
  readonly via: string;
  /** The client's address, or the name of the spool file. */
  readonly from?: string | undefined;
  readonly isJson: boolean;
  /** The reply has ended, or its reader is gone. */
  readonly isClosed: boolean;
  write(text: string): void;
  /** Sends what was written so far: the command streams, and more follows when something happens. */
  flush(): void;
  /** Bytes not sent yet, approximately. */
  unsent(): number;
  /** Ends the reply; with an error, the command failed. Called once. */
  end(error?: Error): void;
  /** The listener is called if the reader goes away before the end. */
  onAbort(listener: () => void): void;
  /** The listener is called after the end. */
  onDone(listener: () => void): void;
}

/** A column of a table. */
export interface Column {
  /** Minimum width; negative: right-aligned. */
  readonly width: number;
  /** Formats the value as text. */
  readonly format?: (value: never) => string;
  /** The values are JSON as text. Parsing it would round long numbers. */
  readonly isJson?: true;
}

/** How the outcome of a command is logged. */
export interface LogPolicy {
  readonly level: LogLevel;
  readonly done: string;
  readonly refused: string;
  readonly refusedLevel: LogLevel;
  /** Log fields made of the result; by default its plain values. */
  fields?(result: unknown): LogFields;
}

/** For commands that change a connection or the server. */
export const logsChanges: LogPolicy = {
  level: 'info',
  done: 'command done',
  refused: 'command refused',
  refusedLevel: 'info',
};

/** For commands that send messages: as frequent as the clients' own messages, so logged at debug level. */
export const logsMessages: LogPolicy = { ...logsChanges, level: 'debug', refusedLevel: 'debug' };

export interface Command {
  readonly name: string;
  /** In the order of the words on a command line. */
  readonly parameters: Readonly<Record<string, Parameter>>;
  /** One short line. */
  readonly help: string;
  /** Further sentences for `help COMMAND`. */
  readonly details?: string;
  /** The command changes nothing and sends no message, so `--read-token` allows it. */
  readonly isReadOnly?: true;
  /** Only for commands that change something. */
  readonly logs?: LogPolicy;
  /** Only for commands whose result is a table. */
  readonly columns?: Readonly<Record<string, Column>>;
  /** Runs until its reader goes away; refused in the spool, where that cannot happen. */
  readonly streams?: true;
  /**
   * @returns a sentence, a record or an iterator of rows (read in batches, so that other work runs in between); undefined if
   *   the command writes to `reply` itself
   * @throws UsageError, or ProtocolError with an HTTP status as its code: a sentence for the caller
   */
  run(control: Control, parameters: CallValues, reply: Reply): unknown;
}

/** A command and its parsed parameters. */
export interface Call {
  readonly command: Command;
  readonly parameters: CallValues;
}
