/** `--exec`: each connection has a process of its own. */
import type { Connection } from '../connection/connection.ts';
import type { Handler } from '../connection/handler.ts';
import { holdBack, resume } from '../connection/hold.ts';
import { updateHeld } from '../connection/memory.ts';
import { requestTurn } from '../connection/outbox.ts';
import { sendMessage } from '../connection/send.ts';
import { log } from '../log/log.ts';
import type { ProgramEntry } from '../options/program.ts';
import { heldBackOutput, longestMessage, startsPerTurn } from '../protocol/bounds.ts';
import { CloseCode, ProtocolError } from '../protocol/codes.ts';
import { newFormat, type Said, type Variables } from './format.ts';
import { type Audience, type Audiences, hearAll, listen, stopListening } from './listen.ts';
import { endProgram, isFull, type Program, startProgram, writeRecord } from './program.ts';
import { baseEnvironment, requestVariables } from './variables.ts';

/** Processes of all `--exec` handlers, those included that are about to be started or ended. */
export interface ProgramCount {
  running: number;
}

/** A connection and its program, once that is started. */
interface Session {
  readonly connection: Connection;
  readonly variables: Variables;
  audience: Audience | undefined;
  /** The connection is closed, or about to be. */
  isOver: boolean;
}

export function newProgramHandler(entry: ProgramEntry, count: ProgramCount): Handler {
  const format = newFormat(entry.format, false);
  const audiences: Audiences = [];
  const toStart: Session[] = [];
  let running = 0;
  let whenAllGone: (() => void) | undefined;

  function gone(): void {
    count.running--;
    if (--running === 0) whenAllGone?.();
  }

  function start(session: Session): void {
    const { connection, variables } = session;
    const { execEnv, execGrace } = connection.server.configuration;
    const environment = { ...baseEnvironment(execEnv), ...variables };
    const program = startProgram(entry, environment, execGrace, connection.id, {
      stirs: () => session.audience !== undefined && listen(audiences, session.audience),
      drained() {
        updateHeld(connection);
        resume(connection);
      },
      gone,
    });
    if (program === undefined) {
      gone();
      close(session, CloseCode.InternalError, 'the program could not be started');
      return;
    }
    session.audience = newAudience(session, program);
    resume(connection);
  }

  function newAudience(session: Session, program: Program): Audience {
    const { connection } = session;
    return {
      program,
      format,
      isListening: false,
      isOver: false,
      longest: () => Math.min(connection.server.configuration.maxMessage, longestMessage),
      // A peer that does not read has its program wait.
      isReady() {
        if (connection.queue.size <= heldBackOutput) return true;
        // What is queued leaves at the end of this turn, at once or sooner or later; only then that is told.
        if (!connection.socket.isBusy) requestTurn();
        return false;
      },
      hears: said => hears(session, said),
      mishears(why) {
        log('error', 'program misspoke', { ...program.fields, why });
        close(session, CloseCode.InternalError, 'the program failed');
      },
      ends() {
        if (program.exit === 0) close(session, CloseCode.NormalClosure, 'the program ended');
        else close(session, CloseCode.InternalError, 'the program failed');
      },
    };
  }

  function hears(session: Session, { what, bytes, start, end, code, reason }: Said): void {
    if (what === 'close') close(session, code, reason);
    else sendMessage(session.connection, what === 'text', bytes, start, end);
  }

  /** Both sides are told to end. */
  function close(session: Session, code: number, reason: string): void {
    if (session.isOver) return;
    release(session);
    session.connection.wire.close(session.connection, code, reason);
  }

  /** The program is not needed any more, whether or not it was started already. */
  function release(session: Session): void {
    if (session.isOver) return;
    session.isOver = true;
    const { audience } = session;
    if (audience === undefined) return;
    stopListening(audience);
    endProgram(audience.program);
  }

  return {
    name: entry.name,

    opened(connection, request) {
      const { execMax } = connection.server.configuration;
      if (request === undefined) throw new Error('a program is told of the request');
      if (execMax > 0 && count.running >= execMax) {
        log('warn', 'too many programs', { program: entry.name, id: connection.id, running: count.running });
        connection.wire.close(
          connection,
          CloseCode.TryAgainLater,
          'too many programs run already; try again later',
        );
        return;
      }
      count.running++;
      running++;
      const variables = requestVariables(connection, request, entry.name);
      const session: Session = { connection, variables, audience: undefined, isOver: false };
      connection.data = session;
      holdBack(connection);
      toStart.push(session);
      requestTurn();
    },

    message(connection, message) {
      const session = connection.data as Session | undefined;
      if (session?.audience === undefined || session.isOver) return;
      const { program } = session.audience;
      try {
        writeRecord(program, format.message(message, 0));
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        close(session, error.code, error.message);
        return;
      }
      if (isFull(program)) holdBack(connection);
    },

    held(connection) {
      const session = connection.data as Session | undefined;
      return session?.audience?.program.stdin.writableLength ?? 0;
    },

    discard(connection) {
      const session = connection.data as Session | undefined;
      session?.audience?.program.stdin.destroy();
    },

    closed(connection) {
      const session = connection.data as Session | undefined;
      connection.data = undefined;
      if (session !== undefined) release(session);
    },

    turnEnds() {
      for (const session of toStart.splice(0, startsPerTurn)) {
        if (session.isOver) gone();
        else start(session);
      }
      if (toStart.length > 0) requestTurn();
      hearAll(audiences);
    },

    async stopped() {
      for (const _ of toStart.splice(0)) gone();
      if (running === 0) return;
      await new Promise<void>(resolve => {
        whenAllGone = resolve;
      });
    },
  };
}
