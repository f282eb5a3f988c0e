/**
 * What a subscriber asks for: which channels, from where on, and in which form. All transports have the same URLs:
 *
 *     /channels/NAME?after=ID&last=N&format=json
 *     /channels?c=NAME&c=NAME…
 *
 * A WebSocket in the JSON form may have `await=token`.
 */

import { copyText } from '../../options/text.ts';
import { ProtocolError } from '../../protocol/codes.ts';
import { splitList } from '../../protocol/http/fields.ts';
import type { Head } from '../../protocol/http/head.ts';
import { percentDecode, readQuery } from '../../protocol/http/path.ts';
import { channelsFull } from './channel.ts';
import { channelNameFault, parseCursor } from './names.ts';
import type { Channels } from './records.ts';
import type { Start } from './subscribers.ts';

export interface ChannelRequest {
  /** Valid names, each once. */
  readonly names: readonly string[];
  readonly start: Start;
  /** The id that the client resumes after, as it gave it. */
  readonly after: string | undefined;
  /** Presence besides the messages, or instead of them. */
  readonly presence: 'watch' | 'only' | undefined;
  /** Nothing is delivered before the client's first message, which has its token. */
  readonly awaitsToken: boolean;
  /** Each message in the JSON form; otherwise its data as published. */
  readonly isJson: boolean;
}

/** The subprotocol of WebSocket that selects the JSON form. */
export const jsonSubprotocol = 'channels.json';

/** The subprotocol with the name of the handler, which does not. */
const plainSubprotocol = 'channels';

/**
 * Reads the URL and the header fields.
 * @throws ProtocolError 400, or 503 if there are too many channels, with a sentence
 */
export function readChannelRequest(channels: Channels, head: Head): ChannelRequest {
  const query = readQuery(head.query);
  const names = channelNames(channels, head.path, query.getAll('c'));
  const full = channelsFull(channels, names);
  if (full !== undefined) throw new ProtocolError(503, full);
  const format = query.get('format');
  if (format !== null && format !== 'json')
    throw refusal('the only format is "json"; leave it out for messages as published');
  // A client that reconnects still has the query of its first request, so the last event that it received comes first.
  const after =
    head.headers.get('last-event-id') || query.get('lastEventId') || (query.get('after') ?? undefined);
  const isJson = format === 'json' || names.length !== 1 || asksForJson(head);
  const presence = readPresence(query.get('presence'), names, isJson);
  const awaitsToken = readAwaitsToken(query.get('await'), isJson);
  return {
    names,
    start: readStart(channels, after, query.get('last')),
    after,
    presence,
    awaitsToken,
    isJson,
  };
}

function refusal(reason: string): ProtocolError {
  return new ProtocolError(400, reason);
}

/** The path of a polling session ends in that of its handler. */
const channelPath = /^(?:\/poll)?\/channels\/(.*)$/s;

function channelNames({ server }: Channels, path: string, listed: readonly string[]): readonly string[] {
  const { maxSubscriptions } = server.configuration;
  const encoded = channelPath.exec(path)?.[1];
  if (encoded !== undefined && listed.length > 0)
    throw refusal('the channel is in the path, or in "c" in the query, but not in both');
  const names = encoded === undefined ? [...new Set(listed)].map(copyText) : [decoded(encoded)];
  if (maxSubscriptions > 0 && names.length > maxSubscriptions)
    throw refusal(`a subscriber can have ${maxSubscriptions} channels at most; open another one`);
  for (const name of names) {
    const fault = channelNameFault(name);
    if (fault !== undefined) throw refusal(fault);
  }
  return names;
}

function readPresence(
  given: string | null,
  names: readonly string[],
  isJson: boolean,
): ChannelRequest['presence'] {
  if (given === null) return undefined;
  if (given === '1' && isJson) return 'watch';
  if (given === '1') throw refusal('presence=1 needs the JSON form: add format=json');
  if (given !== 'only') throw refusal('"presence" must be 1 or "only"');
  if (names.length !== 1) throw refusal('presence=only is for one channel');
  return 'only';
}

function readAwaitsToken(given: string | null, isJson: boolean): boolean {
  if (given === null) return false;
  if (given !== 'token') throw refusal('"await" must be "token"');
  if (!isJson) throw refusal('await=token needs the JSON form: add format=json');
  return true;
}

function decoded(path: string): string {
  const name = percentDecode(path);
  if (name === undefined) throw refusal('the percent-encoding of the channel name is not valid UTF-8');
  return name;
}

function readStart(channels: Channels, after: string | undefined, last: string | null): Start {
  if (last !== null && !/^\d{1,9}$/.test(last))
    throw refusal('"last" must be the number of messages to start with');
  if (after === undefined) return { last: last === null ? undefined : Number(last) };
  const cursor = parseCursor(channels, after);
  if (typeof cursor === 'string') throw refusal(`cannot resume: ${cursor}`);
  return { after: cursor };
}

/** Whether the first known subprotocol of a handshake is the JSON form: that one is accepted. */
function asksForJson({ headers }: Head): boolean {
  const offered = splitList(headers.get('sec-websocket-protocol') ?? '');
  return offered.find(one => one === jsonSubprotocol || one === plainSubprotocol) === jsonSubprotocol;
}
