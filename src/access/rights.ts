/** The table of rights: who may do what on which path. */
import { matchesPattern } from '../protocol/pattern.ts';
import type { Need } from '../records/identity.ts';
import type { Access, Decision, Identity, Right, Who } from './records.ts';

/** Who has a right if no rule decides. */
const defaultGrants: Readonly<Record<Right, Who>> = {
  connect: 'anyone',
  subscribe: 'anyone',
  publish: 'commands',
  presence: 'nobody',
};

/** The path of a channel in the table. */
export function channelPath(name: string): string {
  return `/channels/${name}`;
}

/**
 * The first line that covers the path and names the right decides, otherwise the default. Callers allow requests with the API
 * token or the publish token before.
 * @param path percent-decoded; for a channel, `channelPath`; for a handler, its own path and then that of the request
 * @param isSubscriber whether the client has subscribed to the channel
 */
export function decide(
  { rules }: Pick<Access, 'rules'>,
  right: Right,
  path: string,
  identity: Identity | undefined,
  isSubscriber = false,
): Decision {
  for (const { line, pattern, grants } of rules) {
    const who = grants[right];
    if (who === undefined || !matchesPattern(pattern, path)) continue;
    const isOther =
      pattern.namesUser && (identity === undefined || !matchesPattern(pattern, path, identity.user));
    return judge(line, who, { right, path, identity, isSubscriber, isOther });
  }
  return judge('default', defaultGrants[right], { right, path, identity, isSubscriber, isOther: false });
}

/** Decides by the rule for the path or, without one, by the rule for its parent. */
export function decideNeed(
  access: Pick<Access, 'rules'>,
  need: Need,
  identity: Identity | undefined,
): Decision {
  const { right, path, parentPath, isSubscriber, needsUser } = need;
  const decision = decide(access, right, path, identity, isSubscriber);
  const decided =
    decision.rule === 'default' && parentPath !== undefined
      ? decide(access, right, parentPath, identity)
      : decision;
  if (!decided.isAllowed || needsUser !== true || identity !== undefined) return decided;
  return {
    isAllowed: false,
    rule: '--nick user',
    who: 'user',
    needsIdentity: true,
    refusal: 'identify',
    sentence: 'sign in to connect here',
  };
}

interface Question {
  readonly right: Right;
  readonly path: string;
  readonly identity: Identity | undefined;
  readonly isSubscriber: boolean;
  /** `{user}` in the pattern matched something other than the user's name, or there is no user. */
  readonly isOther: boolean;
}

function judge(rule: string, who: Who, question: Question): Decision {
  const { right, identity, isOther } = question;
  if (!isOther && isGranted(who, question))
    return { isAllowed: true, rule, who, needsIdentity: false, refusal: undefined, sentence: '' };
  const isForUsers = who === 'user' || who === 'token' || (isOther && who !== 'commands' && who !== 'nobody');
  const needsIdentity = isForUsers && identity === undefined;
  const refusal = needsIdentity ? 'identify' : 'forbid';
  return { isAllowed: false, rule, who, needsIdentity, refusal, sentence: sentences[right][refusal] };
}

function isGranted(who: Who, { right, path, identity, isSubscriber }: Question): boolean {
  if (who === 'anyone') return true;
  if (who === 'user') return identity !== undefined;
  if (who === 'token') return identity !== undefined && isCovered(identity, right, path);
  return who === 'subscribers' && isSubscriber;
}

const channels = channelPath('');

/** Whether the token, link or answer grants this channel. Handlers have no list: any token or answer grants them. */
function isCovered({ user, means, subscribe, publish }: Identity, right: Right, path: string): boolean {
  if (means === 'module') return false;
  if (!path.startsWith(channels)) return means !== 'link';
  const name = path.slice(channels.length);
  return (right === 'publish' ? publish : subscribe).some(pattern => matchesPattern(pattern, name, user));
}

const sentences = {
  connect: { identify: 'sign in to connect here', forbid: 'you may not connect here' },
  subscribe: {
    identify: 'sign in to subscribe to this channel',
    forbid: 'you may not subscribe to this channel',
  },
  publish: { identify: 'sign in to publish in this channel', forbid: 'you may not publish in this channel' },
  presence: { identify: 'sign in to see who is here', forbid: 'you may not see who is here' },
} as const;
