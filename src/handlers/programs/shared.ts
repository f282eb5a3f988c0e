/** `--exec-shared`: one process for all connections, started with the server, and again whenever it ended. */
import type { Connection } from '../../core/connection.ts';
import type { Handler } from '../../core/handler.ts';
import { deferRest, pauseMessages, resumeMessages } from '../../core/processData.ts';
import { sendToAll } from '../../core/send.ts';
import type { Server } from '../../core/server.ts';
import { log } from '../../log/log.ts';
import type { ProgramEntry } from '../../options/values.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import { absoluteMaxMessage, restartDelay } from '../../protocol/limits.ts';
import { baseEnvironment, requestVariables } from './environment.ts';
import { newFormat, type Said } from './formats.ts';
import { pipesPerProgram, takePipesNow } from './pipes.ts';
import { endProgram, isFull, type Program, startProgram, writeRecord } from './program.ts';
import { endTurns, logWithin, newLineBudget, tellLost } from './programLog.ts';
import type { Programs } from './programs.ts';
import { type Audience, hearAll, listen, stopListening } from './reader.ts';

/** The largest id that a record has room for. */
const lastId = 0xffff_ffff;

export function newSharedProgramHandler(entry: ProgramEntry, programs: Programs): Handler {
  const format = newFormat(entry.format, true);
  const { hearing, pipes } = programs;
  /**
   * By ids of their own, which are not used again (before four billion others were): what the program says to someone who
   * has left must not reach whoever came next.
   */
  const members = new Map<number, Connection>();
  /** The same as a list, which is made anew when someone comes or leaves. */
  let everyone: readonly Connection[] | undefined;
  const held = new Set<Connection>();
  let newestId = 0;

  let server: Server | undefined;
  /** The one that runs, and takes messages; `undefined` while there is none. */
  let program: Program | undefined;
  let newest: Audience | undefined;
  let startedAt = 0;
  let restartIn: number = restartDelay.first;
  let timer: NodeJS.Timeout | undefined;
  let isStopping = false;
  let whenGone: (() => void) | undefined;

  function start(): void {
    if (server === undefined || isStopping) return;
    const taken = takePipesNow(pipes, server);
    const { execEnv, execGrace } = server.configuration;
    startedAt = performance.now();
    newest = undefined;
    const events = {
      stirs: () => newest !== undefined && listen(hearing, newest),
      drained,
      gone: restartIfOver,
    };
    program = startProgram(
      ...([entry, baseEnvironment(execEnv), execGrace, undefined, events, taken, hearing.errors] as const),
    );
    if (program === undefined) restartLater();
    else newest = newAudience(server, program);
  }

  function drained(): void {
    for (const connection of held) resumeMessages(connection);
    held.clear();
  }

  function newAudience(owner: Server, speaker: Program): Audience {
    const budget = newLineBudget();
    return {
      program: speaker,
      format,
      isListening: false,
      isOver: false,
      longest: () => Math.min(owner.configuration.maxMessage, absoluteMaxMessage),
      isReady: () => true,
      hears,
      // A slip of the program's, maybe about one connection only, is no harm to the others.
      mishears: why => logWithin(budget, 'program misspoke', { ...speaker.fields, why }),
      ends() {
        tellLost(budget, speaker.fields);
        program = undefined;
        closeAll();
        restartIfOver();
      },
    };
  }

  /** What the program knew of them is gone with it. */
  function closeAll(): void {
    for (const connection of members.values()) {
      connection.wire.close(connection, CloseCode.ServiceRestart, 'the program starts again');
    }
    members.clear();
    held.clear();
    everyone = undefined;
  }

  /** All that it said is heard, and nothing of it is left that the next one could get in the way of. */
  function restartIfOver(): void {
    if (newest === undefined || !newest.isOver || !newest.program.isGone) return;
    if (isStopping) return whenGone?.();
    if (performance.now() - startedAt >= restartDelay.last) restartIn = restartDelay.first;
    restartLater();
  }

  function restartLater(): void {
    log('warn', 'program starts again', { program: entry.name, in: restartIn });
    timer = setTimeout(start, restartIn);
    restartIn = Math.min(2 * restartIn, restartDelay.last);
  }

  function hears(said: Said): void {
    if (said.to === 'all') {
      everyone ??= [...members.values()];
      tell(everyone, said);
      return;
    }
    const [id] = said.to;
    // Whoever is not there has left in the meantime.
    const found =
      said.to.length === 1 ? [members.get(id!)] : [...new Set(said.to)].map(one => members.get(one));
    tell(
      found.filter(member => member !== undefined),
      said,
    );
  }

  /** Slow ones fall behind, as with a broadcast: the others do not wait for them. */
  function tell(connections: readonly Connection[], { what, bytes, start, end, code, reason }: Said): void {
    if (connections.length === 0) return;
    if (what !== 'close') sendToAll(connections, undefined, what === 'text', bytes, start, end);
    else for (const connection of connections) connection.wire.close(connection, code, reason);
  }

  return {
    name: entry.name,

    opened(connection, request) {
      const { maxBuffered } = connection.server.configuration;
      if (request === undefined) throw new Error('a program is told of the request');
      if (program === undefined || program.stdin.writableLength > maxBuffered) {
        connection.wire.close(
          connection,
          CloseCode.TryAgainLater,
          'the program cannot take anyone now; try again later',
        );
        return;
      }
      do newestId = (newestId % lastId) + 1;
      while (members.has(newestId));
      connection.data = newestId;
      members.set(newestId, connection);
      everyone = undefined;
      if (format.opened === undefined) return;
      writeRecord(program, format.opened(newestId, requestVariables(connection, request, entry.name)));
    },

    message(connection, message) {
      const id = connection.data as number;
      if (program === undefined || !members.has(id)) return;
      // The message waits with its connection, whose memory is bounded, rather than with all others' in one queue.
      if (isFull(program)) {
        deferRest(connection, message, message.start);
        pauseMessages(connection);
        held.add(connection);
        return;
      }
      try {
        writeRecord(program, format.message(message, id));
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        connection.wire.close(connection, error.code, error.message);
      }
    },

    closed(connection, code, reason) {
      const id = connection.data as number;
      held.delete(connection);
      if (members.get(id) !== connection) return;
      members.delete(id);
      everyone = undefined;
      if (program !== undefined && format.closed !== undefined)
        writeRecord(program, format.closed(id, code, reason));
    },

    turnEnds() {
      if (server !== undefined) hearAll(hearing);
    },

    // Its pipes are counted while it is started again, too: connections must not take their place.
    started(owner) {
      server = owner;
      server.descriptors.pipes += pipesPerProgram;
      start();
    },

    async stopped() {
      isStopping = true;
      endTurns(hearing.errors);
      clearTimeout(timer);
      if (newest === undefined || newest.program.isGone) return;
      stopListening(newest);
      endProgram(newest.program);
      await new Promise<void>(resolve => {
        whenGone = resolve;
      });
    },
  };
}
