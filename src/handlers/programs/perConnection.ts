/** `--exec`: each connection gets a process of its own. */

import { closeConnection } from '../../core/close.ts';
import { mayOpenPipes } from '../../core/descriptors.ts';
import { updateHeld } from '../../core/memory.ts';
import { scheduleTurn } from '../../core/poll.ts';
import { pauseMessages, resumeMessages } from '../../core/processData.ts';
import { sendMessage } from '../../core/send.ts';
import { log } from '../../log/log.ts';
import type { ProgramEntry } from '../../options/values.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import {
  absoluteMaxMessage,
  backpressureThreshold,
  maxDiscardedOutput,
  pipesPerBatch,
} from '../../protocol/limits.ts';
import type { Connection, Handler, Server } from '../../records/records.ts';
import { baseEnvironment, requestVariables, type Variables } from './environment.ts';
import { newFormat, type OutputRecord } from './formats.ts';
import { type PipeSet, pipesPerProgram, stockPipes } from './pipes.ts';
import {
  bufferedBytes,
  endProgram,
  isInputFull,
  type Program,
  startProgramSoon,
  writeRecord,
} from './program.ts';
import { logLimited, newLineBudget, runWithoutLoop } from './programLog.ts';
import {
  cancelStarts,
  discardLeftInput,
  noteInputRead,
  noteLeftInput,
  type Programs,
  startWaiting,
} from './programs.ts';
import { publishForProgram } from './publishing.ts';
import { type ProgramReader, queueReader, readPrograms, stopReading } from './reader.ts';
import { stopStarter } from './starter.ts';

/** A connection and its program. */
interface Session {
  readonly connection: Connection;
  readonly variables: Variables;
  /** `undefined` until the program is started. */
  reader: ProgramReader | undefined;
  /** The connection is closed or closing. */
  isOver: boolean;
  /** Bytes of output discarded after the client had left. */
  discarded: number;
}

export function newProgramHandler(entry: ProgramEntry, programs: Programs): Handler {
  const format = newFormat(entry.format, false);
  const { channels, readerQueue, pipes } = programs;
  /** Paused: their programs have too much unread input. */
  const blocked = new Set<Session>();
  /** Sessions whose clients have left, while their programs may still publish. */
  const leaving = new Set<Session>();
  const refusals = newLineBudget();
  const outputFaults = newLineBudget();
  let server: Server | undefined;
  let running = 0;
  let onAllGone: (() => void) | undefined;

  function admit(owner: Server): void {
    programs.running++;
    running++;
    owner.descriptors.pipes += pipesPerProgram;
  }

  function release(owner: Server): void {
    programs.running--;
    owner.descriptors.pipes -= pipesPerProgram;
    if (--running === 0) onAllGone?.();
  }

  function start(session: Session, taken: PipeSet): void {
    const { connection, variables } = session;
    const owner = connection.server;
    const { execEnv, execGrace } = owner.configuration;
    const environment = { ...baseEnvironment(execEnv), ...variables };
    const events = {
      onReadable: () => session.reader !== undefined && queueReader(readerQueue, session.reader),
      onDrained() {
        blocked.delete(session);
        if (session.reader !== undefined) noteInputRead(programs, owner, session.reader.program);
        updateHeld(connection);
        resumeMessages(connection);
      },
      onGone() {
        leaving.delete(session);
        release(owner);
      },
    };
    const { stderrQueue } = readerQueue;
    const options = { environment, grace: execGrace, id: connection.id, events, stderrQueue };
    startProgramSoon(entry, taken, pipes, options, program => {
      if (program === undefined) {
        release(owner);
        close(session, CloseCode.InternalError, 'the program could not be started');
        return;
      }
      session.reader = newReader(session, program);
      // The client may have left meanwhile.
      if (session.isOver) endReader(session, session.reader);
      else resumeMessages(connection);
    });
  }

  function newReader(session: Session, program: Program): ProgramReader {
    const { connection } = session;
    const reader: ProgramReader = {
      program,
      format,
      isQueued: false,
      isOver: false,
      maxMessageSize() {
        const { maxMessage } = connection.server.configuration;
        // After the client has left, no connection's memory accounts for the program's output.
        return Math.min(maxMessage, session.isOver ? maxDiscardedOutput : absoluteMaxMessage);
      },
      // Backpressure: the program waits while its client does not read.
      isReady() {
        if (session.isOver || connection.queue.size <= backpressureThreshold) return true;
        // The flush at the end of this turn may empty the queue at once, and then no event follows: look again next turn.
        if (!connection.socket.isBusy) scheduleTurn(connection.server);
        return false;
      },
      onRecord: record => deliver(session, reader, record),
      onInvalid(why) {
        log('error', 'invalid program output', { ...program.fields, why });
        close(session, CloseCode.InternalError, 'the program failed');
        stopReading(reader);
      },
      onExit() {
        if (program.exit === 0) close(session, CloseCode.NormalClosure, 'the program ended');
        else close(session, CloseCode.InternalError, 'the program failed');
      },
    };
    return reader;
  }

  function deliver(session: Session, reader: ProgramReader, record: OutputRecord): void {
    const { kind, bytes, start, end, code, reason, publication } = record;
    if (publication !== undefined) {
      const { fields } = reader.program;
      publishForProgram(channels, { name: entry.name, fields, budget: outputFaults }, publication);
    } else if (session.isOver) {
      session.discarded += 1 + end - start;
      if (session.discarded > maxDiscardedOutput) stopReading(reader);
    } else if (kind === 'close') close(session, code, reason);
    else sendMessage(session.connection, kind === 'text', bytes, start, end);
  }

  /** Closes the connection and ends the program. */
  function close(session: Session, code: number, reason: string): void {
    if (session.isOver) return;
    stop(session);
    closeConnection(session.connection, code, reason);
  }

  /** Ends the program; if it is not started yet, `startWaiting` skips it. */
  function stop(session: Session): void {
    if (session.isOver) return;
    session.isOver = true;
    blocked.delete(session);
    if (session.reader !== undefined) endReader(session, session.reader);
  }

  function endReader(session: Session, reader: ProgramReader): void {
    endProgram(reader.program);
    if (entry.format !== 'json') return stopReading(reader);
    // The program may still publish in answer to its last input.
    if (reader.isOver) return;
    leaving.add(session);
    scheduleTurn(session.connection.server);
  }

  return {
    name: entry.name,

    opened(connection, request) {
      const owner = connection.server;
      const { execMax } = owner.configuration;
      if (request === undefined) throw new Error('a program needs the request of the handshake');
      const isAtMax = execMax > 0 && programs.running >= execMax;
      if (isAtMax || !mayOpenPipes(owner, pipesPerProgram)) {
        const { limit } = owner.descriptors;
        const raise = isAtMax ? { raise: '--exec-max' } : { openFiles: limit, raise: 'ulimit -Hn' };
        const fields = { program: entry.name, running: programs.running, ...raise };
        logLimited(refusals, 'too many programs', fields);
        closeConnection(
          connection,
          CloseCode.TryAgainLater,
          'too many programs are running; try again later',
        );
        return;
      }
      admit(owner);
      const variables = requestVariables(connection, request, entry.name);
      const session: Session = { connection, variables, reader: undefined, isOver: false, discarded: 0 };
      connection.data = session;
      pauseMessages(connection);
      programs.toStart.push({
        entry,
        isOver: () => session.isOver,
        start: taken => start(session, taken),
        cancel: () => release(owner),
      });
      scheduleTurn(owner);
    },

    message(connection, message) {
      const session = connection.data as Session | undefined;
      if (session?.reader === undefined || session.isOver) return;
      const { program } = session.reader;
      try {
        writeRecord(program, format.encodeMessage(message, 0));
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        close(session, error.code, error.message);
        return;
      }
      // After EOF all input is in memory: pass it to the program, and close its stdin after that.
      if (!isInputFull(program) || connection.hasPeerEnded) return;
      pauseMessages(connection);
      blocked.add(session);
    },

    discard(connection) {
      const session = connection.data as Session | undefined;
      session?.reader?.program.stdin.destroy();
    },

    closed(connection) {
      const session = connection.data as Session | undefined;
      connection.data = undefined;
      if (session === undefined) return;
      stop(session);
      if (session.reader !== undefined) noteLeftInput(programs, connection.server, session.reader.program);
    },

    /** Input that the program has not read, and output that is not sent. */
    held(connection) {
      const session = connection.data as Session | undefined;
      return session?.reader === undefined ? 0 : bufferedBytes(session.reader.program);
    },

    started(owner) {
      server = owner;
      owner.memory.trimPrograms = most => discardLeftInput(programs, owner, most);
      stockPipes(pipes, owner, pipesPerBatch);
    },

    turnEnds() {
      if (server === undefined) return;
      for (const session of blocked) {
        if (!session.connection.hasPeerEnded) continue;
        blocked.delete(session);
        resumeMessages(session.connection);
      }
      startWaiting(programs, server);
      readPrograms(readerQueue);
    },

    async stopped() {
      runWithoutLoop(readerQueue.stderrQueue);
      cancelStarts(programs, entry);
      for (const { reader } of leaving) if (reader !== undefined) stopReading(reader);
      if (running > 0) {
        await new Promise<void>(resolve => {
          onAllGone = resolve;
        });
      }
      if (programs.running === 0) await stopStarter(pipes.starter);
    },
  };
}
