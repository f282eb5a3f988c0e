/**
 * Publishing over HTTP: `POST /channels/NAME`. The body is the message, and the answer has its id. Subscribing over HTTP is
 * in wires/channels/.
 */

import { isUtf8 } from 'node:buffer';
import { bearerToken } from '../access/credentials.ts';
import { publisherByRight, publishNeed } from '../access/needs.ts';
import { publisherOf, type Tokens } from '../access/tokens.ts';
import { channelNameFault } from '../handlers/channels/names.ts';
import { contentFault, type PublicationOptions, publicationFault } from '../handlers/channels/publication.ts';
import { answerTo, publish } from '../handlers/channels/publish.ts';
import type { Channels, Published } from '../handlers/channels/records.ts';
import { quoted, UsageError } from '../options/error.ts';
import { copyText, decodeText, skipByteOrderMark } from '../options/text.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { admittedFields, preflightFields } from '../protocol/http/crossOrigin.ts';
import type { Head, HttpResponse } from '../protocol/http/head.ts';
import { checkOrigin } from '../protocol/http/origin.ts';
import { percentDecode, readQuery } from '../protocol/http/path.ts';
import { maxIgnoredBody, maxPublication } from '../protocol/limits.ts';
import type { Connection } from '../records/records.ts';
import type { MessageKind } from '../storage/log/records.ts';
import { publishRemedy, withToken } from '../wires/bearer.ts';
import { type Fields, type Route, refuseRequest, respond } from '../wires/route.ts';
import { decodeFormText } from './api.ts';
import { errorReply } from './httpReply.ts';

const prefix = '/channels';

/** The preflight is for all methods of `/channels`. */
const preflight = preflightFields(
  'GET, POST',
  'Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Cache-Control, Pragma, X-Requested-With, Accept',
);

/** The route for every method but GET and HEAD. */
export function newPublishRoute(channels: Channels, tokens: Tokens): Route {
  const { server } = channels;
  /** Requests whose message is stored at the end of the turn. */
  const unanswered = new Set<Connection>();

  /** True if the table of rights decides: a rule lets clients publish here, and this one has no token for commands. */
  function needsRight(head: Head, { identity }: Connection): boolean {
    const { entry } = channels;
    if (head.method !== 'POST' || entry?.isOn() !== true) return false;
    if (publisherOf(tokens, bearerToken(head) ?? '') !== undefined) return false;
    return !entry.isForCommands(publishNeed(readName(channels, head), false), identity);
  }

  const takesTokens = () => channels.entry?.takesTokens() === true;

  const fieldsFor = (head: Head) =>
    admittedFields(head, channels.entry?.isOn(), server.configuration.origins);

  const publishing: Route = {
    takes: ({ method, path }) =>
      method !== 'GET' && method !== 'HEAD' && (path === prefix || path.startsWith(`${prefix}/`)),

    admit(head) {
      readName(channels, head);
      readOptions(head, takesTokens());
      readMediaType(head);
      return Math.min(server.configuration.maxMessage, maxPublication);
    },

    answer(connection, head, body) {
      const { kind, data } = readContent(head, body);
      const why = contentFault(kind, data);
      if (why !== undefined) throw new ProtocolError(400, why);
      const holder = publisherOf(tokens, bearerToken(head) ?? '');
      const publisher = holder ?? publisherByRight(connection.identity);
      const options = readOptions(head, takesTokens());
      const publication = { channel: readName(channels, head), kind, data, publisher, ...options };
      unanswered.add(connection);
      publish(channels, publication, outcome => {
        if (!unanswered.delete(connection)) return;
        if (typeof outcome === 'string') refuseRequest(connection, new ProtocolError(503, outcome));
        else respond(connection, answerOf(fieldsFor(head), answerTo(channels, outcome)));
      });
    },

    // A page may read the refusal, unless it was refused because of its origin.
    formatRefusal: (error, head) =>
      errorReply(error, false, error.option === 'origin' ? {} : fieldsFor(head)),

    // The end of this turn, or of one of the next, answers it.
    close() {},

    finished: connection => void unanswered.delete(connection),
  };

  const guarded = withToken(
    server,
    {
      tokens,
      isGranted: token => publisherOf(tokens, token) !== undefined,
      remedy: publishRemedy,
    },
    publishing,
  );

  return {
    ...guarded,

    admit(head, connection) {
      checkOrigin(head, server.configuration.origins);
      if (head.method === 'OPTIONS') return maxIgnoredBody;
      if (head.method !== 'POST')
        throw new ProtocolError(405, `a channel does not support ${head.method}; publish with POST`, {
          Allow: 'GET, HEAD, POST, OPTIONS',
        });
      if (needsRight(head, connection)) return publishing.admit(head, connection);
      if (tokens.api === undefined && tokens.publish === undefined)
        throw new ProtocolError(
          403,
          'publishing over HTTP is off; start the server with --publish-token FILE or --api-token FILE',
        );
      return guarded.admit(head, connection);
    },

    needs: (head, connection) =>
      needsRight(head, connection) ? [publishNeed(readName(channels, head), false)] : [],

    answer(connection, head, body) {
      if (head.method === 'OPTIONS')
        respond(connection, { status: 204, headers: { ...fieldsFor(head), ...preflight }, body: '' });
      else guarded.answer(connection, head, body);
    },
  };
}

/** @throws ProtocolError 400 or 404 */
function readName({ byName }: Channels, { path }: Head): string {
  const encoded = path.slice(prefix.length + 1);
  // Most requests name an existing channel. The path of a name with a percent sign encodes the sign.
  if (!encoded.includes('%') && byName.has(encoded)) return encoded;
  if (encoded === '') throw new ProtocolError(404, 'name a channel: POST /channels/NAME');
  const name = percentDecode(encoded);
  if (name === undefined)
    throw new ProtocolError(400, 'the name of the channel is not percent-encoded UTF-8');
  const why = channelNameFault(name);
  if (why !== undefined) throw new ProtocolError(400, why);
  return name;
}

const parameters = ['event', 'ttl', 'key'] as const;

const isParameter = (name: string): name is (typeof parameters)[number] =>
  (parameters as readonly string[]).includes(name);

const noOptions: PublicationOptions = { event: undefined, ttl: undefined, key: undefined };

/**
 * Reads the query and the field Idempotency-Key.
 * @param mayHaveToken whether the query may have the token of a user
 * @throws ProtocolError 400
 */
function readOptions({ query, headers }: Head, mayHaveToken: boolean): PublicationOptions {
  if (query === '' && !headers.has('idempotency-key')) return noOptions;
  const given: { event?: string; ttl?: string; key?: string } = {};
  for (const [name, value] of readQuery(query)) {
    if (name === 'token' && mayHaveToken) continue;
    if (!isParameter(name))
      throw new ProtocolError(400, `unknown parameter ${quoted(name)}; there are ${parameters.join(', ')}`);
    if (given[name] !== undefined) throw new ProtocolError(400, `${name} is given twice; keep one`);
    given[name] = value;
  }
  const field = headers.get('idempotency-key');
  if (field !== undefined) {
    if (given.key !== undefined)
      throw new ProtocolError(400, 'the idempotency key is given twice: as key and in a field; keep one');
    // A string of RFC 8941 §3.3.3 has quotes, as the draft of the field demands; many clients leave them out.
    given.key = /^"(.*)"$/.exec(field)?.[1] ?? field;
  }
  const { event, ttl, key } = given;
  if (ttl !== undefined && !/^\d{1,10}$/.test(ttl))
    throw new ProtocolError(400, 'ttl must be a whole number of seconds');
  const options = {
    event: event && copyText(event),
    ttl: ttl === undefined ? undefined : Number(ttl) * 1000,
    key: key && copyText(key),
  };
  const why = publicationFault(options);
  if (why !== undefined) throw new ProtocolError(400, why);
  return options;
}

/**
 * The media type in lower case; empty if there is none.
 * @throws ProtocolError 415 for those that would surely be published as something else than their sender means
 */
function readMediaType({ headers }: Head): string {
  const field = headers.get('content-type') ?? '';
  const typeEnd = field.indexOf(';');
  const mediaType = (typeEnd === -1 ? field : field.slice(0, typeEnd)).trim().toLowerCase();
  if (mediaType === 'multipart/form-data')
    throw new ProtocolError(415, 'multipart forms are not read; send the message alone, or as data=MESSAGE');
  if (headers.get('content-encoding') !== undefined)
    throw new ProtocolError(415, 'the body must not be compressed; leave out Content-Encoding');
  if (mediaType === 'application/octet-stream' || typeEnd === -1) return mediaType;
  // Trimmed first: a pattern that ends in blanks would search a long run of them again from each one.
  const parameters = field
    .slice(typeEnd + 1)
    .trim()
    .toLowerCase();
  const [, charset = 'utf-8'] = /^charset\s*=\s*"?([^"\s]*)"?$/.exec(parameters) ?? [];
  if (/^(text\/plain|application\/json)$/.test(mediaType) && !/^(utf-?8|us-ascii)$/.test(charset))
    throw new ProtocolError(415, `a text must be UTF-8, not ${quoted(charset)}`);
  return mediaType;
}

interface Content {
  readonly kind: MessageKind;
  readonly data: Buffer;
}

/**
 * The message in the body. Many clients, such as `curl -d` and Python's urllib, call every body a form: unless it has a field
 * `data`, such a body is the message itself.
 * @throws ProtocolError 400
 */
function readContent(head: Head, body: Buffer): Content {
  switch (readMediaType(head)) {
    case 'text/plain':
      return { kind: 'text', data: ownCopy(body) };
    case 'application/json':
      // RFC 8259 §8.1: a parser may ignore a byte order mark.
      return { kind: 'json', data: ownCopy(skipByteOrderMark(body)) };
    case 'application/x-www-form-urlencoded':
      return readForm(body) ?? textOrBytes(body);
    case '':
      // RFC 9110 §8.3: the recipient may examine the data.
      return textOrBytes(body);
    default:
      return { kind: 'bytes', data: ownCopy(body) };
  }
}

/** The body without spare room, as the message may be kept for long. */
function ownCopy(body: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(body.length);
  body.copy(copy);
  return copy;
}

function textOrBytes(body: Buffer): Content {
  return { kind: isUtf8(body) ? 'text' : 'bytes', data: ownCopy(body) };
}

/** @returns undefined if the body is no form with a field `data` */
function readForm(body: Buffer): Content | undefined {
  const text = body.toString('latin1');
  // The URL Standard's serializer writes no other characters; a body that starts with the field may have been written by hand.
  const isForm = /^[\w.*%+-]+=[\w.*%+&=-]*$/.test(text);
  const hasData = text.startsWith('data=') || (isForm && text.includes('&data='));
  if (!hasData) return undefined;
  if (text.includes('&')) {
    throw new ProtocolError(
      400,
      'a form has the field data alone: encode & in it as %26, and put event, ttl and key into the query',
    );
  }
  try {
    const encoded = decodeText('data in the form', body.subarray('data='.length));
    return { kind: 'text', data: Buffer.from(decodeFormText('data', encoded)) };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new ProtocolError(400, error.message);
  }
}

function answerOf(fields: Fields, outcome: Published): HttpResponse {
  // The spread comes last: V8 adds fields after a spread one by one, which doubles the time of this function.
  const headers = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', ...fields };
  return { status: 200, headers, body: `${JSON.stringify(outcome)}\n` };
}
