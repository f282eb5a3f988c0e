/** The options of `Access`: a part of the table of options. */
import { defaults } from '../protocol/limits.ts';
import { appUrl } from './addresses.ts';
import type { OptionTable } from './option.ts';
import { allowRule } from './rules.ts';
import { choice, claimValue, cookieName, count, duration, namedFile, optionalCookie } from './values.ts';

export const accessOptions = {
  allow: {
    kind: allowRule,
    repeatable: true,
    default: [],
    group: 'Access',
    help: 'PATH: RIGHT=WHO, such as /quiz: connect=user',
  },
  authKey: {
    kind: namedFile,
    repeatable: true,
    default: [],
    group: 'Access',
    help: 'key to verify tokens and signed links',
  },
  authIssuer: {
    kind: claimValue,
    default: '',
    group: 'Access',
    help: 'accept only tokens with this issuer',
  },
  authAudience: {
    kind: claimValue,
    default: '',
    group: 'Access',
    help: 'accept only tokens for this audience',
  },
  tokenCookie: {
    kind: optionalCookie,
    default: '',
    group: 'Access',
    help: 'cookie with the token',
  },
  authUrl: {
    kind: appUrl,
    default: 'none',
    group: 'Access',
    help: 'ask this web app who a client is',
  },
  authCookie: {
    kind: cookieName,
    repeatable: true,
    default: [],
    needs: 'authUrl',
    group: 'Access',
    help: 'send the app this cookie only',
  },
  authConcurrency: {
    kind: count,
    default: defaults.authConcurrency,
    needs: 'authUrl',
    group: 'Access',
    help: 'requests to the app at the same time',
  },
  authTimeout: {
    kind: duration,
    default: defaults.authTimeout,
    needs: 'authUrl',
    group: 'Access',
    help: "time limit for the app's answer",
  },
  authCache: {
    kind: duration,
    default: defaults.authCache,
    needs: 'authUrl',
    group: 'Access',
    help: 'reuse an answer for this long; 0: never',
  },
  authRecheck: {
    kind: duration,
    default: 0,
    needs: 'authUrl',
    group: 'Access',
    help: 'ask the app again about connected users',
  },
  refuseWith: {
    kind: choice(['close', 'status'], 'WORD'),
    default: 'close',
    group: 'Access',
    help: 'refuse WebSockets by close or status',
  },
} as const satisfies OptionTable;
