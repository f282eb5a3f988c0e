/** What a module sees of the server: its state, its connections and groups, and its log. */

import { membersOf } from '../../core/group.ts';
import { sendToAll } from '../../core/send.ts';
import { type LogLevel, log } from '../../log/log.ts';
import { printableLine } from '../../log/printable.ts';
import { isTrial, keepBack } from './effects.ts';
import type * as user from './interface.ts';
import { LentMessage } from './lent.ts';
import { connectionOf, type Peer } from './peer.ts';
import { bytesOf, lasting } from './sendable.ts';
import type { Slot } from './slot.ts';

export function newModuleServer({
  peers,
  groups,
  log: lines,
}: Pick<Slot, 'peers' | 'groups' | 'log'>): user.Server {
  function publishNow(name: string, message: user.Sendable, except: user.Connection | undefined): void {
    const group = groups.get(name);
    if (group === undefined) return;
    const members = membersOf(group);
    const left = except === undefined ? undefined : connectionOf(except as Peer);
    if (message instanceof LentMessage) {
      const { isText, bytes, start, end } = message.inner();
      sendToAll(members, left, isText, bytes, start, end);
    } else {
      const bytes = bytesOf(message);
      sendToAll(members, left, typeof message === 'string', bytes, 0, bytes.length);
    }
  }

  return {
    state: undefined,
    connections: peers,
    publish(group, message, except) {
      if (!isTrial()) return publishNow(group, message, except);
      const kept = lasting(message);
      keepBack(() => publishNow(group, kept, except));
    },
    members: group => groups.get(group)?.members.size ?? 0,
    log: lines,
  };
}

/**
 * Each line has the module's name. What it is given may be anything, as nobody checks a script's types, and may come from
 * a peer: it does not become a line of its own, nor a field of ours.
 */
export function newModuleLog(handler: string): user.Log {
  const line =
    (level: LogLevel) =>
    (event: string, fields: user.LogFields = {}) => {
      const theirs = Object.entries(fields).filter(
        ([name]) => /^\w+$/.test(name) && !ourFields.includes(name),
      );
      const shown = theirs.map(([name, value]) => [name, shownValue(value)]);
      log(level, printableLine(String(event)), { handler, ...Object.fromEntries(shown) });
    };
  return { error: line('error'), warn: line('warn'), info: line('info'), debug: line('debug') };
}

const ourFields = ['time', 'level', 'event', 'handler'];

function shownValue(value: unknown): string | number | boolean | undefined {
  const isPlain = value === undefined || ['string', 'number', 'boolean'].includes(typeof value);
  return isPlain ? (value as string) : String(value);
}
