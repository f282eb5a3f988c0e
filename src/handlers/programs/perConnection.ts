/** `--exec`: each connection has a process of its own. */
import type { Connection } from '../../core/connection.ts';
import { mayOpen } from '../../core/descriptors.ts';
import type { Handler } from '../../core/handler.ts';
import { updateHeld } from '../../core/memory.ts';
import { scheduleTurn } from '../../core/poll.ts';
import { pauseMessages, resumeMessages } from '../../core/processData.ts';
import { sendMessage } from '../../core/send.ts';
import type { Server } from '../../core/server.ts';
import { log } from '../../log/log.ts';
import type { ProgramEntry } from '../../options/values.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import { absoluteMaxMessage, backpressureThreshold, pipesPerBatch } from '../../protocol/limits.ts';
import { baseEnvironment, requestVariables, type Variables } from './environment.ts';
import { newFormat, type Said } from './formats.ts';
import { type PipeSet, pipesPerProgram, stockPipes } from './pipes.ts';
import { endProgram, heldBytes, isFull, type Program, startProgram, writeRecord } from './program.ts';
import { endTurns, logWithin, newLineBudget } from './programLog.ts';
import {
  cancelStarts,
  discardLeftInput,
  noteInputRead,
  noteLeftInput,
  type Programs,
  startWaiting,
} from './programs.ts';
import { type Audience, hearAll, listen, stopListening } from './reader.ts';

/** A connection and its program, once that is started. */
interface Session {
  readonly connection: Connection;
  readonly variables: Variables;
  audience: Audience | undefined;
  /** The connection is closed, or about to be. */
  isOver: boolean;
}

export function newProgramHandler(entry: ProgramEntry, programs: Programs): Handler {
  const format = newFormat(entry.format, false);
  const { hearing, pipes } = programs;
  /** Those whose programs have not read what they were given. */
  const full = new Set<Session>();
  const refusals = newLineBudget();
  let server: Server | undefined;
  let running = 0;
  let whenAllGone: (() => void) | undefined;

  function admit(owner: Server): void {
    programs.running++;
    running++;
    owner.descriptors.pipes += pipesPerProgram;
  }

  function gone(owner: Server): void {
    programs.running--;
    owner.descriptors.pipes -= pipesPerProgram;
    if (--running === 0) whenAllGone?.();
  }

  function start(session: Session, taken: PipeSet): void {
    const { connection, variables } = session;
    const owner = connection.server;
    const { execEnv, execGrace } = owner.configuration;
    const environment = { ...baseEnvironment(execEnv), ...variables };
    const events = {
      stirs: () => session.audience !== undefined && listen(hearing, session.audience),
      drained() {
        full.delete(session);
        if (session.audience !== undefined) noteInputRead(programs, owner, session.audience.program);
        updateHeld(connection);
        resumeMessages(connection);
      },
      gone: () => gone(owner),
    };
    const program = startProgram(
      ...([entry, environment, execGrace, connection.id, events, taken, hearing.errors] as const),
    );
    if (program === undefined) {
      gone(owner);
      close(session, CloseCode.InternalError, 'the program could not be started');
      return;
    }
    session.audience = newAudience(session, program);
    resumeMessages(connection);
  }

  function newAudience(session: Session, program: Program): Audience {
    const { connection } = session;
    return {
      program,
      format,
      isListening: false,
      isOver: false,
      longest: () => Math.min(connection.server.configuration.maxMessage, absoluteMaxMessage),
      // A peer that does not read has its program wait.
      isReady() {
        if (connection.queue.size <= backpressureThreshold) return true;
        // What is queued leaves at the end of this turn, at once or sooner or later; only then that is told.
        if (!connection.socket.isBusy) scheduleTurn(connection.server);
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
    full.delete(session);
    const { audience } = session;
    if (audience === undefined) return;
    stopListening(audience);
    endProgram(audience.program);
  }

  return {
    name: entry.name,

    opened(connection, request) {
      const owner = connection.server;
      const { execMax } = owner.configuration;
      if (request === undefined) throw new Error('a program is told of the request');
      const isFullHouse = execMax > 0 && programs.running >= execMax;
      if (isFullHouse || !mayOpen(owner, 'pipes', pipesPerProgram)) {
        const { limit } = owner.descriptors;
        const raise = isFullHouse ? { raise: '--exec-max' } : { openFiles: limit, raise: 'ulimit -Hn' };
        const fields = { program: entry.name, running: programs.running, ...raise };
        logWithin(refusals, 'too many programs', fields);
        connection.wire.close(
          connection,
          CloseCode.TryAgainLater,
          'too many programs run already; try again later',
        );
        return;
      }
      admit(owner);
      const variables = requestVariables(connection, request, entry.name);
      const session: Session = { connection, variables, audience: undefined, isOver: false };
      connection.data = session;
      pauseMessages(connection);
      programs.toStart.push({
        entry,
        isOver: () => session.isOver,
        start: taken => start(session, taken),
        cancel: () => gone(owner),
      });
      scheduleTurn(owner);
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
      // What a client has sent before it went is in memory already, and the program's stdin ends behind it.
      if (!isFull(program) || connection.hasPeerEnded) return;
      pauseMessages(connection);
      full.add(session);
    },

    discard(connection) {
      const session = connection.data as Session | undefined;
      session?.audience?.program.stdin.destroy();
    },

    closed(connection) {
      const session = connection.data as Session | undefined;
      connection.data = undefined;
      if (session === undefined) return;
      release(session);
      if (session.audience !== undefined)
        noteLeftInput(programs, connection.server, session.audience.program);
    },

    /** What it has given the program, and what the program has said and nobody was sent. */
    held(connection) {
      const session = connection.data as Session | undefined;
      return session?.audience === undefined ? 0 : heldBytes(session.audience.program);
    },

    started(owner) {
      server = owner;
      owner.memory.trimPrograms = most => discardLeftInput(programs, owner, most);
      stockPipes(pipes, owner, pipesPerBatch);
    },

    turnEnds() {
      if (server === undefined) return;
      for (const session of full) {
        if (!session.connection.hasPeerEnded) continue;
        full.delete(session);
        resumeMessages(session.connection);
      }
      startWaiting(programs, server);
      hearAll(hearing);
    },

    async stopped() {
      endTurns(hearing.errors);
      cancelStarts(programs, entry);
      if (running === 0) return;
      await new Promise<void>(resolve => {
        whenAllGone = resolve;
      });
    },
  };
}
