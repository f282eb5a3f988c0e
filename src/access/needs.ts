/** The rights that requests and commands need, in terms of the rights table. */
import { ProtocolError } from '../protocol/codes.ts';
import { percentDecode } from '../protocol/http/path.ts';
import type { Identity, Need } from '../records/identity.ts';
import { channelPath } from './rights.ts';

/**
 * The right to open a handler. The rule for the request's path decides or, without one, the rule for the handler's own path, also
 * if a subprotocol or the default chose the handler.
 * @param path of the request, percent-encoded
 * @throws ProtocolError 400 for a path below the handler's that could be read in two ways
 */
export function connectNeed(handler: string, path: string): Need {
  const own = `/${handler}`;
  const decoded = percentDecode(path)?.replace(/\/$/, '');
  // Programs see the decoded path.
  if (!(decoded ?? path).startsWith(`${own}/`)) return { right: 'connect', path: own };
  if (decoded === undefined) throw new ProtocolError(400, 'the path is not percent-encoded UTF-8');
  if (decoded.split('/').some((part, at) => at > 0 && (part === '' || part === '.' || part === '..')))
    throw new ProtocolError(400, 'the parts of the path between slashes must not be empty, "." or ".."');
  return { right: 'connect', path: decoded, parentPath: own };
}

/**
 * The right to read a file of the site. The page of a folder is reached by two paths, and needs the right for both.
 * @param names of the path's folders and file, percent-decoded; the last one is empty for a folder
 * @param page the name of a folder's page
 */
export function fileNeeds(names: readonly string[], page: string): readonly Need[] {
  const path = `/${names.join('/')}`;
  if (!path.endsWith('/')) return [{ right: 'connect', path }];
  const folder = path === '/' ? path : path.slice(0, -1);
  return [folder, path + page].map(one => ({ right: 'connect', path: one }));
}

/** The rights to receive the messages of a channel. @param name valid */
export function subscribeNeeds(name: string): readonly Need[] {
  const path = channelPath(name);
  return [
    { right: 'connect', path, parentPath: '/channels', channel: name },
    { right: 'subscribe', path, channel: name },
  ];
}

/** @param name valid */
export function publishNeed(name: string, isSubscriber: boolean): Need {
  return { right: 'publish', path: channelPath(name), channel: name, isSubscriber };
}

/** The right to see the users of a channel by name. @param name valid */
export function presenceNeed(name: string, isSubscriber: boolean): Need {
  return { right: 'presence', path: channelPath(name), channel: name, isSubscriber };
}

/** The owner of the idempotency keys of a client that publishes by a rule, not by a token of the server. */
export function publisherByRight(identity: Identity | undefined): string {
  return identity === undefined ? 'anyone' : `user:${identity.user}`;
}
