/** Posts in rooms: a post is a message published to the room's channel. */

import { isUtf8 } from 'node:buffer';
import type { ByteRange } from '../../protocol/buffers.ts';
import { maxPacketBlob } from '../../protocol/limits.ts';
import { workUnits } from '../../protocol/workUnits.ts';
import { authorizeClient, logRefusedCommand } from '../authorize.ts';
import { publish } from '../channels/publish.ts';
import { roomFault } from './chat.ts';
import { type Chat, sendToUser, type User } from './room.ts';

/**
 * Posts a message in the user's room. It is delivered when it is stored, before this turn's flush.
 * @param request the request's uid, for an error
 * @param text valid during the call
 * @returns a sentence if it is refused
 */
export function postMessage(
  chat: Chat,
  user: User,
  request: number,
  { bytes, start, end }: ByteRange,
): string | undefined {
  const { channels } = chat;
  const { room, uid, nick } = user;
  if (room === undefined) return 'enter a room first';
  // A reload of `--rooms` applies to users who are in the room already.
  if (!chat.isRoom(room.name.key)) return roomFault(chat, room.name);
  if (end - start > maxPacketBlob) return `a message must have at most ${maxPacketBlob} bytes`;
  const data = Buffer.from(bytes.subarray(start, end));
  if (!isUtf8(data)) return 'a message must be valid UTF-8';
  const refuse = (why: string) => sendToUser(user, user.encoder.error(request, why));
  authorizeClient(channels.entry, user.connection, room.speakNeeds, refusal => {
    // The users of a room may speak in it, unless a rule says otherwise.
    if (refusal !== undefined && refusal.details['rule'] !== 'default') {
      logRefusedCommand(user.connection, refusal, room.name.text);
      return refuse(refusal.message);
    }
    const channel = room.name.key;
    // A terminal gets no copy of its own posts, so the posts of each are a fan-out of their own.
    if (!user.encoder.echoesSender && channels.queue.at(-1)?.publication.author !== user)
      workUnits.spent += room.groups.get(user.encoder)?.members.size ?? 0;
    publish(channels, { channel, kind: 'text', data, from: nick.text, uid, author: user }, outcome => {
      if (typeof outcome === 'string') refuse(outcome);
    });
  });
  return undefined;
}
