/** `--exec-shared`: one process for all connections, started with the server and restarted whenever it ends. */

import { closeConnection } from '../../core/close.ts';
import { sendToAll } from '../../core/fanout.ts';
import { deferRest, pauseMessages, resumeMessages } from '../../core/processData.ts';
import { log } from '../../log/log.ts';
import type { ProgramEntry } from '../../options/values.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import { absoluteMaxMessage, restartDelay } from '../../protocol/limits.ts';
import type { Connection, Handler, Server } from '../../records/records.ts';
import { baseEnvironment, requestVariables } from './environment.ts';
import { newFormat, type OutputRecord } from './formats.ts';
import { pipesPerProgram, takePipesNow } from './pipes.ts';
import { endProgram, isInputFull, type Program, startProgram, writeRecord } from './program.ts';
import { logLimited, logOmitted, newLineBudget, runWithoutLoop } from './programLog.ts';
import type { Programs } from './programs.ts';
import { publishForProgram } from './publishing.ts';
import { type ProgramReader, queueReader, readPrograms, stopReading } from './reader.ts';

/** The largest id that a record has room for. */
const lastId = 0xffff_ffff;

export function newSharedProgramHandler(entry: ProgramEntry, programs: Programs): Handler {
  const format = newFormat(entry.format, true);
  const { channels, readerQueue, pipes } = programs;
  /**
   * By an id that is not reused before four billion others: a late answer to a client that has left must not reach a new one.
   */
  const members = new Map<number, Connection>();
  /** The members as a list; `undefined` after a change, until it is needed again. */
  let everyone: readonly Connection[] | undefined;
  const paused = new Set<Connection>();
  let newestId = 0;

  let server: Server | undefined;
  /** The running process; `undefined` between its end and the next start. */
  let program: Program | undefined;
  let reader: ProgramReader | undefined;
  let startedAt = 0;
  let restartIn: number = restartDelay.first;
  let timer: NodeJS.Timeout | undefined;
  let isStopping = false;
  let onStopped: (() => void) | undefined;

  function start(): void {
    if (server === undefined || isStopping) return;
    const taken = takePipesNow(pipes, server);
    const { execEnv, execGrace } = server.configuration;
    startedAt = performance.now();
    reader = undefined;
    const events = {
      onReadable: () => reader !== undefined && queueReader(readerQueue, reader),
      onDrained: resumePaused,
      onGone: restartIfOver,
    };
    program = startProgram(entry, taken, {
      environment: baseEnvironment(execEnv),
      grace: execGrace,
      id: undefined,
      events,
      stderrQueue: readerQueue.stderrQueue,
    });
    if (program === undefined) restartLater();
    else {
      programs.shared++;
      reader = newReader(server, program);
    }
  }

  function resumePaused(): void {
    for (const connection of paused) resumeMessages(connection);
    paused.clear();
  }

  function newReader(owner: Server, started: Program): ProgramReader {
    const budget = newLineBudget();
    return {
      program: started,
      format,
      isQueued: false,
      isOver: false,
      maxMessageSize: () => Math.min(owner.configuration.maxMessage, absoluteMaxMessage),
      isReady: () => true,
      onRecord(record) {
        const { publication } = record;
        if (publication === undefined) deliver(record);
        else publishForProgram(channels, { name: entry.name, fields: started.fields, budget }, publication);
      },
      // An invalid record may concern one connection only: log it and go on serving the others.
      onInvalid: why => logLimited(budget, 'invalid program output', { ...started.fields, why }),
      onExit() {
        logOmitted(budget, started.fields);
        programs.shared--;
        program = undefined;
        closeAll();
        restartIfOver();
      },
    };
  }

  /** The program's knowledge of its clients has ended with the process. */
  function closeAll(): void {
    for (const connection of members.values()) {
      closeConnection(connection, CloseCode.ServiceRestart, 'the program is restarting');
    }
    members.clear();
    paused.clear();
    everyone = undefined;
  }

  /** Restarts the program when its output is read and its whole process group is gone. */
  function restartIfOver(): void {
    if (reader === undefined || !reader.isOver || !reader.program.isGone) return;
    if (isStopping) return onStopped?.();
    if (performance.now() - startedAt >= restartDelay.last) restartIn = restartDelay.first;
    restartLater();
  }

  function restartLater(): void {
    log('warn', 'program restarts', { program: entry.name, in: restartIn });
    timer = setTimeout(start, restartIn);
    restartIn = Math.min(2 * restartIn, restartDelay.last);
  }

  function deliver(record: OutputRecord): void {
    if (record.to === 'all') {
      everyone ??= [...members.values()];
      send(everyone, record);
      return;
    }
    const [id] = record.to;
    // A recipient may have left in the meantime.
    const found =
      record.to.length === 1 ? [members.get(id!)] : [...new Set(record.to)].map(one => members.get(one));
    send(
      found.filter(member => member !== undefined),
      record,
    );
  }

  /** As with any fan-out, a slow consumer is closed; the others do not wait for it. */
  function send(
    connections: readonly Connection[],
    { kind, bytes, start, end, code, reason }: OutputRecord,
  ): void {
    if (connections.length === 0) return;
    if (kind !== 'close') sendToAll(connections, undefined, { isText: kind === 'text', bytes, start, end });
    else for (const connection of connections) closeConnection(connection, code, reason);
  }

  return {
    name: entry.name,

    opened(connection, request) {
      const { maxBuffered } = connection.server.configuration;
      if (request === undefined) throw new Error('a program needs the request of the handshake');
      if (program === undefined || program.stdin.writableLength > maxBuffered) {
        closeConnection(
          connection,
          CloseCode.TryAgainLater,
          'the program cannot accept clients now; try again later',
        );
        return;
      }
      do newestId = (newestId % lastId) + 1;
      while (members.has(newestId));
      connection.data = newestId;
      members.set(newestId, connection);
      everyone = undefined;
      if (format.encodeOpened === undefined) return;
      writeRecord(program, format.encodeOpened(newestId, requestVariables(connection, request, entry.name)));
    },

    message(connection, message) {
      const id = connection.data as number;
      if (program === undefined || !members.has(id)) return;
      // Backpressure: the message stays in the input of its connection, which is bounded; a common queue would not be.
      if (isInputFull(program)) {
        deferRest(connection, message, message.start);
        pauseMessages(connection);
        paused.add(connection);
        return;
      }
      try {
        writeRecord(program, format.encodeMessage(message, id));
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        closeConnection(connection, error.code, error.message);
      }
    },

    closed(connection, code, reason) {
      const id = connection.data as number;
      paused.delete(connection);
      if (members.get(id) !== connection) return;
      members.delete(id);
      everyone = undefined;
      if (program !== undefined && format.encodeClosed !== undefined)
        writeRecord(program, format.encodeClosed(id, code, reason));
    },

    turnEnds() {
      if (server !== undefined) readPrograms(readerQueue);
    },

    // The pipes count during a restart too, so that connections cannot take their descriptors.
    started(owner) {
      server = owner;
      server.descriptors.pipes += pipesPerProgram;
      start();
    },

    async stopped() {
      isStopping = true;
      runWithoutLoop(readerQueue.stderrQueue);
      clearTimeout(timer);
      if (reader === undefined || reader.program.isGone) return;
      stopReading(reader);
      endProgram(reader.program);
      await new Promise<void>(resolve => {
        onStopped = resolve;
      });
    },
  };
}
