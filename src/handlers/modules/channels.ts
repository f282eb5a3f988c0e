/** Channels as modules see them: `server.channels`. */

import { dropIfUnused, findOrCreate } from '../channels/channel.ts';
import { channelNameFault, idOf } from '../channels/names.ts';
import { contentFault, publicationFault } from '../channels/publication.ts';
import { answerTo, publish } from '../channels/publish.ts';
import type { Channel, ChannelMessage, Channels, Publication, Published } from '../channels/records.ts';
import { keptMessages } from '../channels/retention.ts';
import { defer, isDeferring, ScopedMessage, sendableBytes } from './callScope.ts';
import type * as user from './interface.ts';

/**
 * @param channels undefined: this server has none
 * @param publisher the module, whose idempotency keys are its own
 * @param lines the module's log
 */
export function newModuleChannels(
  channels: Channels | undefined,
  publisher: string,
  lines: user.Log,
): user.Channels {
  /** @throws Error if there are no channels, RangeError for a name that no channel can have */
  function check(name: string): Channels {
    if (channels === undefined) throw new Error('this server has no channels');
    const why = channelNameFault(String(name));
    if (why !== undefined) throw new RangeError(why);
    return channels;
  }

  return {
    publish(name, message, options = {}) {
      const all = check(name);
      const publication = { ...publicationOf(name, message, options), publisher };
      return new Promise<Published>((resolve, reject) => {
        const publishNow = () =>
          publish(all, publication, outcome => {
            if (typeof outcome === 'string') reject(new Error(outcome));
            else resolve(answerTo(all, outcome));
          });
        whenReturned(publishNow);
      });
    },

    subscribe(name, listener) {
      const all = check(name);
      let channel: Channel | undefined;
      const receive = (message: ChannelMessage) => {
        try {
          listener(shown(all, message));
        } catch (error) {
          lines.error('listener failed', { channel: name, reason: String(error) });
        }
      };
      whenReturned(() => {
        channel = findOrCreate(all, name);
        channel.listeners.add(receive);
      });
      return () =>
        whenReturned(() => {
          if (channel === undefined) return;
          channel.listeners.delete(receive);
          dropIfUnused(all, channel);
        });
    },

    history(name, last) {
      const all = check(name);
      if (last !== undefined && !(Number.isInteger(last) && last >= 0))
        throw new RangeError(`history takes a number of messages, not ${String(last)}`);
      const channel = all.byName.get(name);
      if (channel === undefined) return [];
      const kept = [...keptMessages(channel)];
      return kept.slice(last === undefined ? 0 : Math.max(0, kept.length - last)).map(one => shown(all, one));
    },
  };
}

/** Acts at once or, while the version can be rolled back, when the current call has returned: a call that throws has no effect. */
function whenReturned(act: () => void): void {
  if (isDeferring()) defer(act);
  else act();
}

/** @throws TypeError for an invalid message, RangeError for invalid options */
function publicationOf(
  channel: string,
  message: user.Sendable,
  { as, event, ttl, key }: user.PublishOptions,
): Publication {
  const isText = message instanceof ScopedMessage ? message.isText : typeof message === 'string';
  // A copy, because the module may change its bytes.
  const data = message instanceof ScopedMessage ? message.copy() : Buffer.from(sendableBytes(message));
  const kind = as ?? (isText ? 'text' : 'bytes');
  const milliseconds = ttl === undefined ? undefined : ttl * 1000;
  const publication: Publication = { channel, kind, data, event, ttl: milliseconds, key };
  const why = publicationFault(publication) ?? contentFault(kind, data);
  if (why !== undefined) throw new RangeError(why);
  return publication;
}

function shown(channels: Channels, message: ChannelMessage): user.ChannelMessage {
  const { seq, channel, kind, data, time, event, from } = message;
  return {
    ...{ id: idOf(channels, seq), channel, kind, time, event, from },
    text: () => data.toString(),
    copy: () => Buffer.from(data),
  };
}
