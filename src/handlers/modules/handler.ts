/** What the rest of the server knows of a module: a handler like any other, which calls the version in charge. */
import type { Connection } from '../../core/connection.ts';
import type { Handler } from '../../core/handler.ts';
import { handlerThrew, pauseMessages, resumeMessages } from '../../core/processData.ts';
import { noteEnding } from '../../diagnostics/closeReason.ts';
import { startTiming, stopTiming } from '../../diagnostics/slowHandlers.ts';
import { log, stackOf } from '../../log/log.ts';
import { CloseCode } from '../../protocol/codes.ts';
import type { Message } from '../../protocol/websocket/message.ts';
import { setAsking } from './asking.ts';
import { LentMessage } from './lent.ts';
import { Peer } from './peer.ts';
import { noteError, type Slot, type Version } from './slot.ts';
import { attempt, rollBack, stopIfOver } from './swap.ts';

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
