/** A wire of the user's: one like any other to the loop, which calls the version in charge. */
import type { Connection } from '../../core/connection.ts';
import { charge, startBudget } from '../../core/fairness.ts';
import { endConnection } from '../../core/outbox.ts';
import { establish } from '../../core/places.ts';
import { countMessage, openRawSession } from '../../core/processData.ts';
import type { Wire } from '../../core/wire.ts';
import { noteClosing, noteEnding } from '../../diagnostics/closeReason.ts';
import { log, stackOf } from '../../log/log.ts';
import { beginsAsRequest } from '../../protocol/http/head.ts';
import { maxFirstLine, maxWireInput, typingTimeout } from '../../protocol/limits.ts';
import { setAsking } from './asking.ts';
import { callVersion } from './handler.ts';
import type * as user from './interface.ts';
import type { Slot } from './slot.ts';
import { stopIfOver } from './swap.ts';
import { WirePeer } from './wirePeer.ts';

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
