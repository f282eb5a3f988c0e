/**
 * Plays a script on a connection. The script's wire replaces the usual one, so only the script answers frames. Afterwards the
 * usual wire returns and closes the connection.
 */
import { dropConnection, endConnection, runIsolated } from '../../core/close.ts';
import { charge, mayInflate, startBudget } from '../../core/fairness.ts';
import { scheduleRead } from '../../core/poll.ts';
import { closeSession, countMessage } from '../../core/processData.ts';
import { startSending } from '../../core/progress.ts';
import {
  failWebSocket,
  finishClosing,
  notePong,
  notifyPingsLost,
  sendClose,
  wholeOf,
} from '../../core/readSocketData.ts';
import { appendOutput, queueRange, scheduleFlush, writeBytes } from '../../core/send.ts';
import { endingOf, noteCloseSent, noteEnding } from '../../diagnostics/closeReason.ts';
import { commitFrames, recordReceived, recordRefusedFrame } from '../../diagnostics/recorder.ts';
import { tapAssembled, tapFault, tapWrote } from '../../diagnostics/tap.ts';
import { log } from '../../log/log.ts';
import { clock } from '../../process/clock.ts';
import type { ByteRange } from '../../protocol/buffers.ts';
import { CloseCode } from '../../protocol/codes.ts';
import { splitList } from '../../protocol/http/fields.ts';
import type { Head } from '../../protocol/http/head.ts';
import { backpressureThreshold, outputSlice } from '../../protocol/limits.ts';
import { scriptActionsPerTurn } from '../../protocol/scriptLimits.ts';
import {
  closePayload,
  control,
  type Endpoint,
  endEndpoint,
  frame,
  message,
  nextEvent,
  ProtocolEvent,
  releaseMessage,
  startClosing,
} from '../../protocol/websocket/endpoint.ts';
import { messageBytes } from '../../protocol/websocket/message.ts';
import type { Connection, Producer, Wire } from '../../records/records.ts';
import {
  clearPlayer,
  cutOff,
  heldByPlayer,
  isBacklogFull,
  newPlayer,
  nextAction,
  type Player,
  type PlayerAction,
  playReceived,
  type ScriptOutcome,
} from '../../scripts/player.ts';
import type { Received } from '../../scripts/received.ts';
import type { Script } from '../../scripts/script.ts';

interface Playing {
  readonly player: Player;
  /** The connection's wire before and after the script. */
  readonly usual: Wire;
  /** Resumes the script. */
  timer: NodeJS.Timeout | undefined;
  /** The client's close frame. */
  closeReceived: { readonly code: number; readonly reason: string } | undefined;
  hasSentClose: boolean;
  /** The client's FIN arrived, or the connection is lost. */
  hasEnded: boolean;
  /** The client broke a rule. */
  failure:
    | { readonly code: number; readonly reason: string; readonly option: string | undefined }
    | undefined;
  isOver: boolean;
}

/** Characters of a line that the trace shows. */
const maxShownLine = 200;

const playing = (connection: Connection) => connection.data as Playing;

/** Begins the script on an open WebSocket. */
export function beginScript(connection: Connection, script: Script, { headers }: Head): void {
  const { wire, endpoint, server, socket } = connection;
  const state: Playing = {
    player: newPlayer(script, 'server'),
    usual: wire,
    timer: undefined,
    closeReceived: undefined,
    hasSentClose: false,
    hasEnded: false,
    failure: undefined,
    isOver: false,
  };
  connection.data = state;
  connection.wire = scriptWire;
  if (endpoint !== undefined) endpoint.deliversWhileClosing = true;
  // The server sends no pings during a script, so TCP keep-alive must detect a dead peer.
  socket.keepAlive(server.configuration.pingInterval);
  const { subprotocol } = script;
  const offers = splitList(headers.get('sec-websocket-protocol') ?? '');
  if (subprotocol !== undefined && !offers.includes(subprotocol.token)) {
    const { line, source: expected } = subprotocol;
    state.player.outcome = { isEqual: false, line, expected, seen: 'a handshake that does not offer it' };
  }
  continueScript(connection, state);
}

/** Stops the script's timer at the end of the session. */
export function stopScript(connection: Connection): void {
  clearTimeout(playing(connection)?.timer);
}

/** The memory of a connection's script, in bytes. */
export function heldByScript(connection: Connection): number {
  const state = connection.data as Playing | undefined;
  return state === undefined ? 0 : heldByPlayer(state.player);
}

const scriptWire: Wire = {
  name: 'websocket',

  receive(connection, bytes, start, end) {
    const state = playing(connection);
    const { endpoint } = connection;
    if (endpoint === undefined) return end;
    const at = readFrames(connection, state, endpoint, { bytes, start, end });
    continueScript(connection, state);
    return at;
  },

  isPaused: connection => isBacklogFull(playing(connection).player),

  close(connection, code, reason) {
    interrupt(connection, `${code} ${reason}`.trim());
    connection.wire.close(connection, code, reason);
  },

  fail(connection, code, reason) {
    interrupt(connection, `${code} ${reason}`.trim());
    connection.wire.fail?.(connection, code, reason);
  },

  onEnd(connection, error) {
    const state = playing(connection);
    if (!state.hasEnded) playReceived(state.player, { kind: 'end', bytes: Buffer.from(error ?? '') });
    state.hasEnded = true;
    if (error === undefined) continueScript(connection, state);
    else {
      // For example, the server drops a connection after a deadline.
      if (connection.ending?.by === 'server') interrupt(connection, connection.ending.why);
      const outcome = cutOff(state.player, clock(), error);
      finish(connection, state, outcome, error);
    }
  },

  // The player keeps its own deadlines.
  checkDeadlines() {},
};

/** Reads frames into the player's backlog. @returns the end of the bytes that it read */
function readFrames(connection: Connection, state: Playing, endpoint: Endpoint, input: ByteRange): number {
  const { player } = state;
  startBudget(connection);
  let goesOn = state.failure === undefined;
  let mustWait = isBacklogFull(player) || (endpoint.inflating !== undefined && !mayInflate(connection));
  while (goesOn && !isBacklogFull(player)) {
    const event = nextEvent(endpoint, input, mustWait);
    recordReceived(connection, frame);
    switch (event) {
      case ProtocolEvent.NeedMore:
      case ProtocolEvent.Paused:
        goesOn = false;
        break;
      case ProtocolEvent.Inflating:
        mustWait = !mayInflate(connection);
        break;
      case ProtocolEvent.Frame:
        goesOn = charge(connection, 0);
        break;
      case ProtocolEvent.Message:
        countMessage(connection);
        if (message.bytes !== input.bytes && connection.server.taps.isOn) tapAssembled(connection, message);
        playReceived(player, { kind: message.isText ? 'text' : 'binary', bytes: messageBytes(message) });
        goesOn = charge(connection, message.end - message.start);
        releaseMessage();
        break;
      default:
        if (event === ProtocolEvent.Failed) recordRefusedFrame(connection, input, frame.size, control);
        receiveControl(connection, state, event);
        goesOn = charge(connection, 0) && state.failure === undefined;
    }
  }
  // Pauses the inflation of a large message, too.
  endpoint.acceptsMessages = !isBacklogFull(player);
  commitFrames();
  return state.failure === undefined ? input.start : input.end;
}

function receiveControl(connection: Connection, state: Playing, event: ProtocolEvent): void {
  const { bytes, start, end, code, reason, option } = control;
  const payload = () => Buffer.from(bytes.subarray(start, end));
  const pass = (received: Received) => playReceived(state.player, received);
  if (event === ProtocolEvent.Ping) pass({ kind: 'ping', bytes: payload() });
  else if (event === ProtocolEvent.Pong) {
    pass({ kind: 'pong', bytes: payload() });
    notePong(connection);
  } else if (event === ProtocolEvent.Close) {
    state.closeReceived ??= { code, reason };
    pass({ kind: 'close', bytes: closePayload(code, reason) });
  } else {
    state.failure = { code, reason, option };
    pass({ kind: 'failed', bytes: Buffer.from(reason) });
  }
}

/** Plays the script until it waits, ends, or has used its share of the turn. */
function continueScript(connection: Connection, state: Playing): void {
  clearTimeout(state.timer);
  state.timer = undefined;
  const wasFull = isBacklogFull(state.player);
  let room = outputSlice;
  for (let actions = 0; !state.isOver && connection.phase === 'open'; actions++) {
    if (room <= 0 || actions === scriptActionsPerTurn || connection.queue.size > backpressureThreshold) {
      // The flush resumes the script when the socket has taken the queued output.
      connection.producer = producer;
      scheduleFlush(connection);
      break;
    }
    const now = clock();
    const action = nextAction(state.player, now);
    if (action.kind === 'wait') {
      if (action.until < Number.POSITIVE_INFINITY) setTimer(connection, state, action.until - now);
      break;
    }
    if (action.kind === 'send') {
      sendAction(connection, state, action);
      room -= action.bytes.length;
    } else if (action.kind === 'over') finish(connection, state, action.outcome, undefined);
    else endByScript(connection, state, action.kind);
  }
  if (!wasFull || isBacklogFull(state.player) || connection.phase !== 'open') return;
  if (connection.endpoint !== undefined) connection.endpoint.acceptsMessages = true;
  scheduleRead(connection);
}

function setTimer(connection: Connection, state: Playing, delay: number): void {
  const wake = () => runIsolated(connection, () => continueScript(connection, state));
  state.timer = setTimeout(wake, Math.max(1, delay)).unref();
}

/** Drops the connection once its queue is empty. */
const dropper: Producer = {
  produce(connection) {
    if (connection.queue.size > 0) return true;
    dropConnection(connection);
    return false;
  },
  held: () => 0,
};

const producer: Producer = {
  produce(connection) {
    connection.producer = undefined;
    continueScript(connection, playing(connection));
    return (connection.producer as Producer | undefined) !== undefined;
  },
  held: () => 0,
};

function sendAction(
  connection: Connection,
  state: Playing,
  { bytes, isFramed, close, source }: PlayerAction & { kind: 'send' },
): void {
  const { server, endpoint } = connection;
  const range = writeBytes(server.arena, bytes, 0, bytes.length);
  // The trace and the recorder read whole, valid frames only. For other bytes they show the line of the script.
  if (isFramed) queueRange(connection, range.chunk, range.start, range.end);
  else {
    if (server.taps.isOn) {
      tapFault(connection, source.slice(0, maxShownLine));
      if (connection.socket.altersOutput === undefined) tapWrote(connection, bytes, 0, bytes.length);
    }
    appendOutput(connection, range.chunk, range.start, range.end);
  }
  if (close === undefined) return;
  state.hasSentClose = true;
  noteCloseSent(connection, close);
  if (endpoint?.state === 'OPEN') startClosing(endpoint);
}

/** Ends the TCP connection without a closing handshake, as the script demands. */
function endByScript(connection: Connection, state: Playing, kind: 'end' | 'drop'): void {
  finishPlaying(connection, state, { isEqual: true });
  const { closeReceived } = state;
  closeSession(connection, closeReceived?.code ?? CloseCode.AbnormalClosure, closeReceived?.reason ?? '');
  if (connection.endpoint !== undefined) endEndpoint(connection.endpoint);
  notifyPingsLost(connection);
  if (kind === 'end') {
    endConnection(connection);
    return;
  }
  connection.producer = dropper;
  scheduleFlush(connection);
}

/** Stops the script because the server ends the connection for a reason outside the script. The client made no mistake. */
function interrupt(connection: Connection, by: string): void {
  const state = playing(connection);
  const outcome = cutOff(state.player, clock(), by);
  if (outcome.isEqual) {
    finishPlaying(connection, state, outcome);
    return;
  }
  stopPlaying(connection, state);
  const { id } = connection;
  log('info', 'script interrupted', { id, script: state.player.script.name, line: outcome.line, by });
}

/** Ends the connection after the script, as the frames so far require. @param error why the connection was lost */
function finish(
  connection: Connection,
  state: Playing,
  outcome: ScriptOutcome,
  error: string | undefined,
): void {
  const { endpoint } = connection;
  finishPlaying(connection, state, outcome);
  const { failure, closeReceived, hasSentClose, usual } = state;
  const { code, reason } = closeFrameAfter(outcome);
  if (endpoint === undefined) return;
  if (error !== undefined || (connection.hasPeerEnded && closeReceived === undefined)) {
    usual.onEnd(connection, error);
  } else if (failure !== undefined) {
    if (!hasSentClose) sendClose(connection, wholeOf(closePayload(failure.code, failure.reason)));
    failWebSocket(connection, endpoint, failure);
  } else if (closeReceived !== undefined) {
    // RFC 6455 §5.5.1: the answer to a close frame is a close frame, typically with the same code.
    const answer = outcome.isEqual ? closePayload(closeReceived.code, '') : closePayload(code, reason);
    if (!hasSentClose) sendClose(connection, wholeOf(answer));
    finishClosing(connection, endpoint, closeReceived);
  } else if (hasSentClose) {
    connection.endingAt = connection.server.now;
    startSending(connection);
  } else usual.close(connection, code, reason);
}

/** Restores the connection's usual wire. */
function stopPlaying(connection: Connection, state: Playing): void {
  const { endpoint } = connection;
  state.isOver = true;
  clearTimeout(state.timer);
  clearPlayer(state.player);
  connection.wire = state.usual;
  connection.producer = undefined;
  if (endpoint === undefined) return;
  endpoint.deliversWhileClosing = false;
  endpoint.acceptsMessages = true;
}

/** Stops playing, and reports the outcome. */
function finishPlaying(connection: Connection, state: Playing, outcome: ScriptOutcome): void {
  if (state.isOver) return;
  stopPlaying(connection, state);
  const { id } = connection;
  const { name } = state.player.script;
  // Not `logForAddress`: it drops repeated lines, but a test waits for each outcome.
  if (outcome.isEqual) {
    log('info', 'script played', { id, script: name });
    noteEnding(connection, 'server', `the script ${name} was played to its end`);
    return;
  }
  const { line, expected, seen } = outcome;
  log('warn', 'script differs', { id, script: name, line, expected, seen });
  const sentence = `line ${line} of the script ${name}: expected ${expected}, got ${seen}`;
  noteEnding(connection, 'server', sentence);
  const ending = endingOf(connection);
  if (ending.why !== sentence) ending.aftermath ??= sentence;
}

/** The close frame after a script that has sent none. */
function closeFrameAfter(outcome: ScriptOutcome): { readonly code: number; readonly reason: string } {
  if (outcome.isEqual) return { code: CloseCode.NormalClosure, reason: '' };
  const { line, expected, seen } = outcome;
  return { code: CloseCode.ScriptDiffers, reason: `line ${line}: expected ${expected}, got ${seen}` };
}
