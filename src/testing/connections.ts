/** The connections of a server in a test's process, for its test. */

import type { Control } from '../commands/command.ts';
import { sendToConnection } from '../commands/send.ts';
import { closeConnection } from '../core/close.ts';
import { noteEnding } from '../diagnostics/closeReason.ts';
import { readFaults, setFaults } from '../handlers/faults/faults.ts';
import { type LogSource, logAs } from '../log/log.ts';
import { splitWords } from '../options/words.ts';
import { CloseCode, isSendableCloseCode, sendableCloseCodes } from '../protocol/codes.ts';
import type { Connection } from '../records/records.ts';
import { type SeenFrames, seenFramesOf } from './frames.ts';
import type { SeenFrame, ServerConnection } from './interface.ts';

/** One view for each connection: a test gets the same object each time. */
const views = new WeakMap<Connection, ConnectionView>();

/** The connections that have a handler, by id. */
export function viewConnections(
  control: Control,
  seen: SeenFrames,
  source: LogSource,
): readonly ServerConnection[] {
  return control.server.table.entries.flatMap(entry =>
    entry?.kind === 'connection' && entry.handler !== undefined && entry.phase !== 'gone'
      ? [views.get(entry) ?? new ConnectionView(control, seen, source, entry)]
      : [],
  );
}

class ConnectionView implements ServerConnection {
  readonly id: number;
  readonly #control: Control;
  readonly #seen: SeenFrames;
  /** A call's log events belong to this server. */
  readonly #source: LogSource;
  readonly #connection: Connection;

  constructor(control: Control, seen: SeenFrames, source: LogSource, connection: Connection) {
    this.id = connection.id;
    this.#control = control;
    this.#seen = seen;
    this.#source = source;
    this.#connection = connection;
    views.set(connection, this);
  }

  get address(): string {
    return this.#connection.address;
  }

  get handler(): string | undefined {
    return this.#connection.handlerName;
  }

  get user(): string | undefined {
    return this.#connection.identity?.user;
  }

  get isOpen(): boolean {
    const { phase, endpoint, handler } = this.#connection;
    return phase === 'open' && handler !== undefined && (endpoint === undefined || endpoint.state === 'OPEN');
  }

  get frames(): readonly SeenFrame[] {
    return seenFramesOf(this.#seen, this.#connection);
  }

  send(message: string | Uint8Array): void {
    const isText = typeof message === 'string';
    if (!isText && !(message instanceof Uint8Array))
      throw new TypeError(`cannot send ${typeof message}: pass a string or bytes`);
    const bytes = Buffer.from(message);
    if (!this.isOpen) return;
    logAs(this.#source, () => sendToConnection(this.#control, this.#connection, { isText, bytes }));
  }

  close(code: number = CloseCode.NormalClosure, reason = ''): void {
    if (!isSendableCloseCode(code))
      throw new RangeError(`close code ${code} is not allowed: use ${sendableCloseCodes}`);
    noteEnding(this.#connection, 'server', 'the test closed it', { cause: 'command' });
    logAs(this.#source, () => closeConnection(this.#connection, code, reason));
  }

  fault(...faults: readonly string[]): readonly string[] {
    const plan = readFaults(faults.flatMap(text => splitWords(text)));
    return this.isOpen ? logAs(this.#source, () => setFaults(this.#connection, plan)) : [];
  }
}
