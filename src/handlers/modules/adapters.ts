/** Presents a module to the server as an ordinary handler and an ordinary wire, which call its current version. */

import { userFault } from '../../access/users.ts';
import { logForAddress } from '../../core/addressLog.ts';
import { closeConnection, endConnection } from '../../core/close.ts';
import { charge, startBudget } from '../../core/fairness.ts';
import { establish } from '../../core/places.ts';
import {
  countMessage,
  handlerThrew,
  openRawSession,
  pauseMessages,
  resumeMessages,
} from '../../core/processData.ts';
import { limitMessages } from '../../core/rates.ts';
import { noteClosing, noteEnding } from '../../diagnostics/closeReason.ts';
import { startTiming, stopTiming } from '../../diagnostics/slowHandlers.ts';
import { log, stackOf } from '../../log/log.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import { beginsAsRequest, type Head } from '../../protocol/http/head.ts';
import { maxFirstLine, maxWireInput, typingTimeout } from '../../protocol/limits.ts';
import type { Message } from '../../protocol/websocket/message.ts';
import type { Connection, Handler, Wire } from '../../records/records.ts';
import { ScopedMessage, setCurrentSender } from './callScope.ts';
import { Peer, WirePeer } from './facade.ts';
import type * as user from './interface.ts';
import {
  callVersion,
  callWithRollback,
  isPromise,
  type Module,
  recordError,
  rollBack,
  stopIfUnused,
} from './module.ts';

/** @param module called later: the module record refers to this handler, so it does not exist yet */
export function newModuleHandler(name: string, module: () => Module): Handler {
  return {
    name,
    admit: (connection, request) => admitClient(module(), connection, request),
    opened(connection, request) {
      // Every connection of a handler had a WebSocket handshake.
      const peer = new Peer(connection, request!, module());
      connection.data = peer;
      module().peers.add(peer);
      callOpened(module(), connection, peer);
    },
    message: (connection, message) => deliver(module(), connection, message),
    closed(connection, code, reason) {
      const peer = connection.data as Peer;
      module().pendingAnswers.delete(peer);
      try {
        callVersion(module(), connection.id, ({ handler }) =>
          handler?.closed?.(peer, code, reason, module().facade),
        );
      } finally {
        peer.leaveAll();
        module().peers.delete(peer);
        connection.data = undefined;
        stopIfUnused(module());
      }
    },
    /** The head of its request, of up to `--max-header` bytes. */
    held: ({ data }) => (data instanceof Peer ? Peer.memoryOf(data) : 0),
    turnEnds() {
      if (module().isTickDue) tick(module());
      if (module().pendingAnswers.size > 0) closeOverdue(module());
    },
  };
}

/** Lets the module refuse a client, or identify it. @throws ProtocolError */
function admitClient(module: Module, connection: Connection, { path, query, headers }: Head): void {
  if (module.current.handler?.admit === undefined) return;
  const request = { address: connection.address, path, query, headers };
  let answer: user.Admission;
  try {
    answer = callVersion(module, connection.id, ({ handler }) => handler?.admit?.(request, module.facade));
    checkAdmission(answer);
  } catch (error) {
    recordError(module, error);
    const { id } = connection;
    logForAddress(connection, 'error', 'handler threw', { id, handler: module.name, stack: stackOf(error) });
    throw new ProtocolError(500, 'internal error');
  }
  if (answer === undefined) return;
  if ('status' in answer) throw new ProtocolError(answer.status, answer.reason ?? 'you may not connect here');
  const none: readonly [] = [];
  connection.identity = {
    user: answer.user,
    means: 'module',
    subscribe: none,
    publish: none,
    expiresAt: undefined,
  };
}

/** A promise or a misspelled property must not admit a client. @throws TypeError */
function checkAdmission(answer: unknown): void {
  if (answer === undefined) return;
  const { user: name, status, reason = '' } = (answer ?? {}) as Record<string, unknown>;
  const isStatus = Number.isInteger(status) && Number(status) >= 400 && Number(status) <= 599;
  if (isStatus && name === undefined && typeof reason === 'string') return;
  if (status === undefined && typeof name === 'string' && userFault(name) === undefined) return;
  throw new TypeError('admit must return nothing, { user: NAME }, or { status: 400 to 599, reason: TEXT }');
}

/** One object for all messages; replaced when a promise keeps it. */
let scopedMessage = new ScopedMessage();

/**
 * The hot path: allocates nothing unless the version is in its rollback window or returns a promise. Closures for these two
 * cases are created in functions of their own, as V8 would otherwise allocate a context for every call of this one.
 */
function deliver(module: Module, connection: Connection, message: Message): void {
  const peer = connection.data as Peer;
  const { current } = module;
  const given = scopedMessage;
  given.assign(message);
  startTiming(module.name, connection.id);
  setCurrentSender(connection);
  let answer: unknown;
  try {
    answer =
      current.previous === undefined
        ? current.handler?.message(peer, given, module.facade)
        : deliverWithRollback(module, peer, given);
    if (isPromise(answer)) {
      scopedMessage = new ScopedMessage();
      keepUntilSettled(module, connection, peer, given, answer);
    }
  } catch (error) {
    recordError(module, error);
    throw error;
  } finally {
    if (given === scopedMessage) given.expire();
    setCurrentSender(undefined);
  }
}

function deliverWithRollback(module: Module, peer: Peer, given: ScopedMessage): unknown {
  return callWithRollback(module, ({ handler }) => handler?.message(peer, given, module.facade));
}

function keepUntilSettled(
  module: Module,
  connection: Connection,
  peer: Peer,
  given: ScopedMessage,
  answer: PromiseLike<unknown>,
): void {
  const kept = given.detach();
  awaitAnswer(module, connection, peer, answer, () => deliver(module, connection, kept));
  const expire = () => given.expire();
  answer.then(expire, expire);
}

function callOpened(module: Module, connection: Connection, peer: Peer): void {
  setCurrentSender(connection);
  try {
    const answer = callVersion(module, connection.id, ({ handler }) =>
      handler?.opened?.(peer, module.facade),
    );
    if (isPromise(answer))
      awaitAnswer(module, connection, peer, answer, () => callOpened(module, connection, peer));
  } finally {
    setCurrentSender(undefined);
  }
}

/**
 * Pauses the connection's messages until the promise settles; other connections are not affected.
 * @param again after a rollback, repeats the call with the previous version
 */
function awaitAnswer(
  module: Module,
  connection: Connection,
  peer: Peer,
  promise: PromiseLike<unknown>,
  again: () => void,
): void {
  const version = module.current;
  const pending = { since: module.server.now, connection };
  module.pendingAnswers.set(peer, pending);
  // A close frame waits too: the peer still gets the reply to its last message.
  pauseMessages(connection, true);
  // The connection has closed, or `closeOverdue` has given it up.
  const isObsolete = () => module.pendingAnswers.get(peer) !== pending;
  const proceed = () => {
    module.pendingAnswers.delete(peer);
    resumeMessages(connection);
  };
  promise.then(
    () => {
      if (!isObsolete()) proceed();
    },
    (error: unknown) => {
      if (isObsolete()) return;
      proceed();
      rollBack(module, version, error);
      try {
        if (!version.isRolledBack) throw error;
        again();
      } catch (why) {
        recordError(module, why);
        handlerThrew(connection, module.handler, why);
      }
      stopTiming();
    },
  );
}

/** Closes connections whose promise has not settled within `--handler-timeout`. */
function closeOverdue(module: Module): void {
  const { now, configuration } = module.server;
  const { handlerTimeout } = configuration;
  for (const [peer, { since, connection }] of module.pendingAnswers) {
    if (handlerTimeout === 0 || now - since < handlerTimeout) return;
    module.pendingAnswers.delete(peer);
    const why = `a promise did not settle within ${handlerTimeout / 1000} s`;
    recordError(module, new Error(why));
    const { id } = connection;
    logForAddress(connection, 'error', 'handler timed out', { id, handler: module.name, reason: why });
    noteEnding(connection, 'server', `the handler ${module.name} timed out: ${why}`);
    closeConnection(connection, CloseCode.InternalError, 'internal error');
  }
}

function tick(module: Module): void {
  module.isTickDue = false;
  if (module.isTicking) return;
  const failed = (error: unknown) => {
    module.isTicking = false;
    recordError(module, error);
    log('error', 'handler threw', { handler: module.name, stack: stackOf(error) });
  };
  try {
    const version = module.current;
    const answer = callVersion(module, undefined, ({ handler }) => handler?.tick?.(module.facade));
    if (!isPromise(answer)) return;
    module.isTicking = true;
    answer.then(
      () => {
        module.isTicking = false;
      },
      error => {
        failed(error);
        rollBack(module, version, error);
      },
    );
  } catch (error) {
    failed(error);
  }
}

/** @param module called later, as for the handler */
export function newModuleWire(name: string, module: () => Module): Wire {
  /** Calls the module's wire. @returns `undefined` if it threw: then the connection has ended */
  function callWire<T>(connection: Connection, act: (wire: user.Wire, log: user.Log) => T): T | undefined {
    const owner = module();
    try {
      return callVersion(owner, connection.id, ({ wire }) => act(wire!, owner.log));
    } catch (error) {
      const { id } = connection;
      logForAddress(connection, 'error', 'wire threw', { id, handler: name, stack: stackOf(error) });
      noteEnding(connection, 'server', `internal error: the wire ${name} threw; see the log`);
      leave(connection);
      return undefined;
    }
  }

  function leave(connection: Connection): void {
    const peer = connection.data as WirePeer | undefined;
    if (peer !== undefined && module().wireConnections.delete(connection)) {
      connection.data = undefined;
      callWire(connection, (wire, lines) => wire.closed?.(peer, lines));
      stopIfUnused(module());
    }
    endConnection(connection);
  }

  /** Checks what `receive` returned. @returns how many bytes it consumed @throws Error if that is impossible */
  function checkUsed(used: number | undefined | void, size: number): number {
    if (used === undefined) return size;
    if (!Number.isInteger(used) || used < 0 || used > size)
      throw new TypeError(
        `receive must return how many of the ${size} bytes it consumed, not ${String(used)}`,
      );
    if (size - used > maxWireInput)
      throw new RangeError(`receive left more than ${maxWireInput} bytes unconsumed`);
    return used;
  }

  const self: Wire = {
    name,
    need: () => ({ right: 'connect', path: `/${name}` }),

    matches(bytes, start, end) {
      if (module().current.wire?.matches === undefined) return false;
      // A module cannot claim HTTP requests by accident.
      const isRequest = beginsAsRequest(bytes, start, end);
      if (isRequest !== false) return isRequest ? false : undefined;
      const stop = Math.min(end, start + maxFirstLine);
      try {
        const claim = callVersion(module(), undefined, ({ wire }) =>
          wire?.matches?.(bytes.subarray(start, stop)),
        );
        return claim === undefined && stop - start < maxFirstLine ? undefined : claim === true;
      } catch (error) {
        log('error', 'wire threw', { handler: name, stack: stackOf(error) });
        return false;
      }
    },

    begin(connection) {
      const peer = new WirePeer(connection, () => {
        noteEnding(connection, 'server', `the wire ${name} ended the connection`);
        leave(connection);
      });
      connection.data = peer;
      module().wireConnections.add(connection);
      openRawSession(connection, 0);
      if (connection.input === undefined) callWire(connection, (wire, lines) => wire.greet?.(peer, lines));
    },

    receive(connection, bytes, start, end) {
      startBudget(connection);
      const peer = connection.data as WirePeer;
      const copy = Buffer.from(bytes.subarray(start, end));
      connection.trustLevel = 3;
      establish(connection);
      countMessage(connection);
      if (connection.rate !== undefined) limitMessages(connection, connection.rate);
      setCurrentSender(connection);
      const used = callWire(connection, (wire, lines) =>
        checkUsed(wire.receive(peer, copy, lines), copy.length),
      );
      setCurrentSender(undefined);
      charge(connection, used ?? 0);
      return connection.phase === 'open' && used !== undefined ? start + used : end;
    },

    close(connection, _code, reason) {
      if (connection.phase !== 'open') return;
      noteClosing(connection, reason);
      const peer = connection.data as WirePeer | undefined;
      if (peer !== undefined) callWire(connection, wire => wire.goodbye?.(peer, reason));
      leave(connection);
    },

    onEnd: leave,

    checkDeadlines(connection) {
      const { now } = connection.server;
      if (connection.trustLevel === 3 || now - connection.stageSince < typingTimeout) return;
      self.close(connection, 0, `nothing received within ${typingTimeout / 1000} s`);
    },
  };
  return self;
}
