/** Reads the answer of the app (`--auth-url`) from the head of its response, which may be malformed. */

import type { AppReply } from '../net/subrequest.ts';
import { maxAppPatterns } from '../protocol/accessLimits.ts';
import { splitList } from '../protocol/http/fields.ts';
import { percentDecode } from '../protocol/http/path.ts';
import { parsePattern } from '../protocol/pattern.ts';
import type { Identity, Pattern } from './records.ts';
import { userFault } from './users.ts';

export type AppAnswer =
  | { readonly kind: 'user'; readonly identity: Identity }
  /** No user is signed in: the table of rights decides. */
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'refused' }
  /** @property why completes "the app …" */
  | { readonly kind: 'failed'; readonly why: string };

/**
 * 2xx with `X-User` names the user, whose further rights are in `X-Channels` and `X-Publish`. A 2xx without `X-User` is a
 * failure: a login page with the status 200 must not pass for an answer.
 */
export function readReply(reply: AppReply): AppAnswer {
  if (reply.kind === 'failed') return reply;
  const { status, headers } = reply;
  if (status === 401) return { kind: 'anonymous' };
  if (status === 403) return { kind: 'refused' };
  if (status >= 300 && status < 400)
    return failed(`answered ${status}, a redirect; it must answer 401 if nobody is signed in`);
  if (status < 200 || status > 299) return failed(`answered ${status}`);
  return readIdentity(status, headers);
}

function failed(why: string): AppAnswer {
  return { kind: 'failed', why };
}

function readIdentity(status: number, headers: NodeJS.Dict<string[]>): AppAnswer {
  const { 'x-user': users = [''], 'x-channels': channels = [], 'x-publish': publish = [] } = headers;
  const [user = ''] = users;
  if (user === '')
    return failed(`answered ${status} without X-User; it must answer 401 if nobody is signed in`);
  if (users.length > 1) return failed('answered with several fields X-User');
  const name = decodeUtf8(user);
  const fault = name === undefined ? 'it is not UTF-8' : userFault(name);
  if (name === undefined || fault !== undefined) return failed(`answered with an invalid X-User: ${fault}`);
  const [subscribes, publishes] = [readPatterns(channels), readPatterns(publish)];
  if (subscribes === undefined) return failed('answered with X-Channels that is not a list of patterns');
  if (publishes === undefined) return failed('answered with X-Publish that is not a list of patterns');
  return {
    kind: 'user',
    identity: { user: name, means: 'app', subscribe: subscribes, publish: publishes, expiresAt: undefined },
  };
}

/** Patterns separated by commas, percent-encoded: a comma within a pattern is `%2C`. */
function readPatterns(fields: readonly string[]): readonly Pattern[] | undefined {
  const patterns: Pattern[] = [];
  for (const word of fields.flatMap(splitList)) {
    const text = decodeUtf8(word);
    if (text === undefined || patterns.length >= maxAppPatterns) return undefined;
    const pattern = readPattern(text);
    if (pattern === undefined) return undefined;
    patterns.push(pattern);
  }
  return patterns;
}

function readPattern(encoded: string): Pattern | undefined {
  const source = percentDecode(encoded);
  const pattern = source === undefined ? undefined : parsePattern(source);
  return typeof pattern === 'string' ? undefined : pattern;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** @param latin1 bytes, as Node reads header fields */
function decodeUtf8(latin1: string): string | undefined {
  try {
    return utf8.decode(Buffer.from(latin1, 'latin1'));
  } catch {
    return undefined;
  }
}
