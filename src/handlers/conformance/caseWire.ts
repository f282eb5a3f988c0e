/**
 * A case as a wire: after the handshake it owns the connection's bytes in both directions. The case itself is pure
 * (conformance/run.ts); this file adds the socket and the timer.
 */

import type { ConformanceCase } from '../../conformance/case.ts';
import {
  beginCase,
  type CaseRun,
  endCase,
  heldBytes,
  receiveBytes,
  takeOutput,
  timePassed,
} from '../../conformance/run.ts';
import type { CaseResult } from '../../conformance/verdict.ts';
import { endConnection, runIsolated } from '../../core/close.ts';
import { charge, startBudget } from '../../core/fairness.ts';
import { heldByEndpoint } from '../../core/memory.ts';
import { closeSession } from '../../core/processData.ts';
import { scheduleFlush, sendBytes } from '../../core/send.ts';
import { noteClosing, noteEnding } from '../../diagnostics/closeReason.ts';
import { exactClock } from '../../process/clock.ts';
import { CloseCode } from '../../protocol/codes.ts';
import { outputSlice } from '../../protocol/limits.ts';
import type { DeflateParameters } from '../../protocol/websocket/extensions.ts';
import type { Connection, Producer, Wire } from '../../records/records.ts';
import { newWireLog, noteOctets, type WireLog } from './wireLog.ts';

/** A case on its connection. */
interface CaseSession {
  readonly run: CaseRun;
  readonly wireLog: WireLog;
  /** Times of `exactClock`. */
  readonly begunAt: number;
  timer: NodeJS.Timeout | undefined;
  /** Pending writes, in order. Those before `at`, and `offset` bytes of `writes[at]`, are already queued. */
  writes: readonly Buffer[];
  at: number;
  offset: number;
  /** Bytes of `writes` that are not queued yet. */
  waiting: number;
  /** Called once, with the result; undefined afterwards. */
  onOver: OnOver | undefined;
}

/** The data of a finished case, for its report. */
export interface CaseOutcome {
  readonly run: CaseRun;
  readonly wireLog: WireLog;
  /** Milliseconds. */
  readonly duration: number;
}

/** Milliseconds for each answer. The classic suite mostly waits one second, but clients on a busy machine may take longer. */
const patience = 3000;

type OnOver = (result: CaseResult, outcome: CaseOutcome) => void;

/** Runs the case on a connection whose handshake is complete. @param onOver is called once, when the case is over */
export function startCase(
  connection: Connection,
  test: ConformanceCase,
  deflate: DeflateParameters | undefined,
  onOver: OnOver,
): void {
  const session: CaseSession = {
    run: beginCase(test, 'server', deflate, patience),
    wireLog: newWireLog(),
    begunAt: exactClock(),
    timer: undefined,
    writes: [],
    at: 0,
    offset: 0,
    waiting: 0,
    onOver,
  };
  // The case has its own endpoint. The core sees bytes without frames.
  connection.endpoint = undefined;
  connection.data = session;
  connection.wire = caseWire;
  drain(connection, session);
}

const sessionOf = ({ data }: Connection) => data as CaseSession;

/** Queues the case's output, restarts its timer, and ends it if it is over. */
function drain(connection: Connection, session: CaseSession): void {
  const { run } = session;
  const output = takeOutput(run);
  if (output.length > 0) {
    for (const bytes of output) {
      noteOctets(session.wireLog, 'TO', bytes, 0, bytes.length);
      session.waiting += bytes.length;
    }
    session.writes =
      session.at === session.writes.length ? output : [...session.writes.slice(session.at), ...output];
    session.at = 0;
    connection.producer = producer;
    scheduleFlush(connection);
  }
  if (run.isWaitNew) {
    run.isWaitNew = false;
    clearTimeout(session.timer);
    session.timer = run.wait === undefined ? undefined : startTimer(connection, session, run.wait);
  }
  if (run.isDropping) finish(connection, session, 'the case is over');
}

function startTimer(connection: Connection, session: CaseSession, time: number): NodeJS.Timeout {
  return setTimeout(() => runIsolated(connection, () => onTimeout(connection, session)), time).unref();
}

function onTimeout(connection: Connection, session: CaseSession): void {
  if (connection.phase !== 'open') return;
  timePassed(session.run);
  drain(connection, session);
}

/** The case is over: reports it, and ends the connection after its output. */
function finish(connection: Connection, session: CaseSession, why: string): void {
  const { run, onOver, wireLog, begunAt } = session;
  if (onOver === undefined) return;
  session.onOver = undefined;
  clearTimeout(session.timer);
  const result = endCase(run);
  noteEnding(connection, 'server', why, { isRoutine: true });
  onOver(result, { run, wireLog, duration: Math.round(exactClock() - begunAt) });
  closeSession(connection, result.remoteCloseCode ?? CloseCode.AbnormalClosure, result.resultClose);
  endConnection(connection);
}

/** Queues each write in a separate flush, and long ones in slices. */
const producer: Producer = {
  produce(connection) {
    const session = sessionOf(connection);
    const bytes = session.writes[session.at]!;
    const end = Math.min(bytes.length, session.offset + outputSlice);
    sendBytes(connection, bytes.subarray(session.offset, end));
    session.waiting -= end - session.offset;
    session.offset = end;
    if (end === bytes.length) {
      session.at++;
      session.offset = 0;
    }
    if (session.at < session.writes.length) return true;
    session.writes = [];
    session.at = 0;
    connection.producer = undefined;
    return false;
  },

  // `caseWire.held` counts it.
  held: () => 0,
};

const caseWire: Wire = {
  name: 'conformance',

  receive(connection, bytes, start, end) {
    const session = sessionOf(connection);
    startBudget(connection);
    connection.messageAt = connection.server.now;
    noteOctets(session.wireLog, 'RO', bytes, start, end);
    // The bytes are lent for this call, but the case keeps incomplete frames.
    receiveBytes(session.run, Buffer.from(bytes.subarray(start, end)));
    charge(connection, end - start);
    drain(connection, session);
    return end;
  },

  /** A command, or an eviction, closes the connection: the case gets no result. */
  close(connection, code, reason) {
    const session = sessionOf(connection);
    session.onOver = undefined;
    clearTimeout(session.timer);
    noteClosing(connection, reason);
    closeSession(connection, code, reason);
    endConnection(connection);
  },

  onEnd(connection, error) {
    finish(connection, sessionOf(connection), error ?? 'the client ended the TCP connection');
  },

  /** The case has its own deadlines. */
  checkDeadlines() {},

  held(connection) {
    const { run, waiting } = sessionOf(connection);
    return waiting + heldBytes(run) + heldByEndpoint(run.endpoint);
  },
};
