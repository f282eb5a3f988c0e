/** What the rest of the server knows of a module: a handler like any other, which calls the version in charge. */
import type { Connection } from '../../core/connection.ts';
import { charge, startBudget } from '../../core/fairness.ts';
import type { Handler } from '../../core/handler.ts';
import { endConnection } from '../../core/outbox.ts';
import { establish } from '../../core/places.ts';
import {
  countMessage,
  handlerThrew,
  openRawSession,
  pauseMessages,
  resumeMessages,
} from '../../core/processData.ts';
import type { Wire } from '../../core/wire.ts';
import { noteClosing, noteEnding } from '../../diagnostics/closeReason.ts';
import { startTiming, stopTiming } from '../../diagnostics/slowHandlers.ts';
import { log, stackOf } from '../../log/log.ts';
import { CloseCode } from '../../protocol/codes.ts';
import { beginsAsRequest } from '../../protocol/http/head.ts';
import { maxFirstLine, maxWireInput, typingTimeout } from '../../protocol/limits.ts';
import type { Message } from '../../protocol/websocket/message.ts';
import { LentMessage, setAsking } from './callScope.ts';
import { Peer, WirePeer } from './facade.ts';
import type * as user from './interface.ts';
import { attempt, noteError, rollBack, type Slot, stopIfOver, type Version } from './module.ts';

/** @param slot is asked for when the handler is called: it has the handler itself */
export function newModuleHandler(name: string, slot: () => Slot): Handler {
  return {
    name,
    opened(connection, request) {
      // The WebSocket wire always has one.
      const peer = new Peer(connection, request!, slot());
      connection.data = peer;
      slot().peers.add(peer);
      open(slot(), connection, peer);
    },
    message: (connection, message) => deliver(slot(), connection, message),
    closed(connection, code, reason) {
      const peer = connection.data as Peer;
      slot().pending.delete(peer);
      try {
        callVersion(slot(), connection.id, ({ handler }) =>
          handler?.closed?.(peer, code, reason, slot().server),
        );
      } finally {
        peer.leaveAll();
        slot().peers.delete(peer);
        connection.data = undefined;
        stopIfOver(slot());
      }
    },
    turnEnds() {
      if (slot().isTickDue) tick(slot());
      if (slot().pending.size > 0) giveUpWaiting(slot());
    },
  };
}

/** One is lent again and again, until it is kept. */
let lent = new LentMessage();

/**
 * The hot path: nothing is made for a message, unless the version is on probation, or answers with a promise. What would
 * make a function of its own for that is done elsewhere, as whatever such a function refers to has to be put where it lasts.
 */
function deliver(slot: Slot, connection: Connection, message: Message): void {
  const peer = connection.data as Peer;
  const { current } = slot;
  const given = lent;
  given.lend(message);
  startTiming(slot.name, connection.id);
  setAsking(connection);
  let answer: unknown;
  try {
    answer =
      current.before === undefined
        ? current.handler?.message(peer, given, slot.server)
        : deliverOnProbation(slot, peer, given);
    if (isPromise(answer)) {
      lent = new LentMessage();
      lendUntilSettled(slot, connection, peer, given, answer);
    }
  } catch (error) {
    noteError(slot, error);
    throw error;
  } finally {
    if (given === lent) given.giveBack();
    setAsking(undefined);
  }
}

function deliverOnProbation(slot: Slot, peer: Peer, given: LentMessage): unknown {
  return attempt(slot, ({ handler }) => handler?.message(peer, given, slot.server));
}

function lendUntilSettled(
  slot: Slot,
  connection: Connection,
  peer: Peer,
  given: LentMessage,
  answer: PromiseLike<unknown>,
): void {
  const kept = given.keep();
  wait(slot, connection, peer, answer, () => deliver(slot, connection, kept));
  const giveBack = () => given.giveBack();
  answer.then(giveBack, giveBack);
}

function open(slot: Slot, connection: Connection, peer: Peer): void {
  setAsking(connection);
  try {
    const answer = callVersion(slot, connection.id, ({ handler }) => handler?.opened?.(peer, slot.server));
    if (isPromise(answer)) wait(slot, connection, peer, answer, () => open(slot, connection, peer));
  } finally {
    setAsking(undefined);
  }
}

/** Calls the version in charge, on the clock. What it throws, and nobody caught, is noted. */
export function callVersion<T>(slot: Slot, id: number | undefined, act: (version: Version) => T): T {
  const isOurs = startTiming(slot.name, id);
  try {
    return attempt(slot, act);
  } catch (error) {
    noteError(slot, error);
    throw error;
  } finally {
    if (isOurs) stopTiming();
  }
}

export function isPromise(answer: unknown): answer is PromiseLike<unknown> {
  return (
    answer !== undefined && answer !== null && typeof (answer as PromiseLike<unknown>).then === 'function'
  );
}

/**
 * The connection's next messages wait for the promise; others' do not.
 * @param again gives the version before what the one that has failed was given
 */
function wait(
  slot: Slot,
  connection: Connection,
  peer: Peer,
  promise: PromiseLike<unknown>,
  again: () => void,
): void {
  const version = slot.current;
  const pending = { since: slot.owner.now, connection };
  slot.pending.set(peer, pending);
  // Whoever says goodbye behind a message still gets the answer to that.
  pauseMessages(connection, true);
  // Once the connection is over, or was given up, nobody waits any more.
  const isOver = () => slot.pending.get(peer) !== pending;
  const goOn = () => {
    slot.pending.delete(peer);
    resumeMessages(connection);
  };
  promise.then(
    () => {
      if (!isOver()) goOn();
    },
    (error: unknown) => {
      if (isOver()) return;
      goOn();
      rollBack(slot, version, error);
      try {
        if (!version.isTakenBack) throw error;
        again();
      } catch (why) {
        noteError(slot, why);
        handlerThrew(connection, slot.handler, why);
      }
      stopTiming();
    },
  );
}

/** A promise that is never settled would hold its connection for ever. */
function giveUpWaiting(slot: Slot): void {
  const { now, configuration } = slot.owner;
  const { handlerTimeout } = configuration;
  for (const [peer, { since, connection }] of slot.pending) {
    if (handlerTimeout === 0 || now - since < handlerTimeout) return;
    slot.pending.delete(peer);
    const why = `a promise was not settled within ${handlerTimeout / 1000} s`;
    noteError(slot, new Error(why));
    log('error', 'handler gave no answer', { id: connection.id, handler: slot.name, reason: why });
    noteEnding(connection, 'server', `the handler ${slot.name} gave no answer: ${why}`);
    connection.wire.close(connection, CloseCode.InternalError, 'internal error');
  }
}

function tick(slot: Slot): void {
  slot.isTickDue = false;
  if (slot.isTicking) return;
  const failed = (error: unknown) => {
    slot.isTicking = false;
    noteError(slot, error);
    log('error', 'handler threw', { handler: slot.name, stack: stackOf(error) });
  };
  try {
    const version = slot.current;
    const answer = callVersion(slot, undefined, ({ handler }) => handler?.tick?.(slot.server));
    if (!isPromise(answer)) return;
    slot.isTicking = true;
    answer.then(
      () => {
        slot.isTicking = false;
      },
      error => {
        failed(error);
        rollBack(slot, version, error);
      },
    );
  } catch (error) {
    failed(error);
  }
}

/** A wire of the user's: one like any other to the loop, which calls the version in charge. */

/** @param slot is asked for when the wire is called: it has the wire itself */
export function newModuleWire(name: string, slot: () => Slot): Wire {
  /** Does something of the module's for the connection. @returns undefined where it threw, and the connection is ended */
  function ask<T>(connection: Connection, act: (wire: user.Wire, log: user.Log) => T): T | undefined {
    const of = slot();
    try {
      return callVersion(of, connection.id, ({ wire }) => act(wire!, of.log));
    } catch (error) {
      log('error', 'wire threw', { id: connection.id, handler: name, stack: stackOf(error) });
      noteEnding(connection, 'server', `a fault of ours: the wire ${name} threw, as the log has it`);
      leave(connection);
      return undefined;
    }
  }

  function leave(connection: Connection): void {
    const peer = connection.data as WirePeer | undefined;
    if (peer !== undefined && slot().wired.delete(connection)) {
      connection.data = undefined;
      ask(connection, (wire, lines) => wire.closed?.(peer, lines));
      stopIfOver(slot());
    }
    endConnection(connection);
  }

  /** How much of `size` bytes was used up. @throws Error for what cannot be */
  function checkUsed(used: number | undefined | void, size: number): number {
    if (used === undefined) return size;
    if (!Number.isInteger(used) || used < 0 || used > size)
      throw new TypeError(`receive returns how many of the ${size} bytes it used, not ${String(used)}`);
    if (size - used > maxWireInput) throw new RangeError(`receive left more than ${maxWireInput} bytes`);
    return used;
  }

  const self: Wire = {
    name,

    matches(bytes, start, end) {
      if (slot().current.wire?.matches === undefined) return false;
      // Nobody takes HTTP away by accident.
      const isRequest = beginsAsRequest(bytes, start, end);
      if (isRequest !== false) return isRequest ? false : undefined;
      const stop = Math.min(end, start + maxFirstLine);
      try {
        const claim = callVersion(slot(), undefined, ({ wire }) =>
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
        noteEnding(connection, 'server', `the wire ${name} ended it`);
        leave(connection);
      });
      connection.data = peer;
      slot().wired.add(connection);
      openRawSession(connection, 0);
      if (connection.input === undefined) ask(connection, (wire, lines) => wire.greet?.(peer, lines));
    },

    receive(connection, bytes, start, end) {
      startBudget(connection);
      const peer = connection.data as WirePeer;
      const copy = Buffer.from(bytes.subarray(start, end));
      connection.trustLevel = 3;
      establish(connection);
      countMessage(connection);
      setAsking(connection);
      const used = ask(connection, (wire, lines) => checkUsed(wire.receive(peer, copy, lines), copy.length));
      setAsking(undefined);
      charge(connection, used ?? 0);
      return connection.phase === 'open' && used !== undefined ? start + used : end;
    },

    close(connection, _code, reason) {
      if (connection.phase !== 'open') return;
      noteClosing(connection, reason);
      const peer = connection.data as WirePeer | undefined;
      if (peer !== undefined) ask(connection, wire => wire.goodbye?.(peer, reason));
      leave(connection);
    },

    onEnd: leave,

    checkDeadlines(connection) {
      const { now } = connection.server;
      if (connection.trustLevel === 3 || now - connection.stageSince < typingTimeout) return;
      self.close(connection, 0, `nothing was said within ${typingTimeout / 1000} s`);
    },
  };
  return self;
}
