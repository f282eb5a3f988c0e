/** Who a client is, and which rights it needs. */

import type { Right } from '../options/rules.ts';
import type { ProtocolError } from '../protocol/codes.ts';
import type { Pattern } from '../protocol/pattern.ts';

/** Who a client is, as verified. A client without one is anonymous. */
export interface Identity {
  /** 1 to 200 characters, without control characters. */
  readonly user: string;
  /** What identified the user: a JWT, a signed link, the app of `--auth-url`, or a module. */
  readonly means: 'token' | 'link' | 'app' | 'module';
  /** Patterns of channel names, such as `orders-*`: the channels to which `subscribe=token` and `publish=token` refer. */
  readonly subscribe: readonly Pattern[];
  readonly publish: readonly Pattern[];
  /** Milliseconds since 1970; undefined: it does not expire. */
  readonly expiresAt: number | undefined;
}

/** The TLS data of a connection. */
export interface Security {
  /** `TLSv1.3` or `TLSv1.2`. */
  readonly protocol: string;
  /** The host that the client asked for (SNI), in lower case. */
  readonly serverName: string | undefined;
  /** The subject of the client's certificate, as `CN=ada, O=Pond`; undefined without a trusted certificate. */
  readonly subject: string | undefined;
  /** The fault of the client's certificate, a sentence: the connection is refused. */
  readonly fault: string | undefined;
}

/** A right that a client needs for a request or a command. */
export interface Need {
  readonly right: Right;
  /** Percent-decoded: `/channels/orders`, `/echo`. */
  readonly path: string;
  /** The path that decides if no rule matches `path`. */
  readonly parentPath?: string | undefined;
  /** The requested channel, which the app gets. */
  readonly channel?: string | undefined;
  /** The client is subscribed to the channel, so rules for `subscribers` include it. */
  readonly isSubscriber?: boolean;
  /** Anonymous clients are refused even if the rules allow them (`--nick user`). */
  readonly needsUser?: boolean;
}

/**
 * The credentials of a request, for questions to the app. A connection keeps them as long as the app may be asked again.
 * Strings are latin1, as in the head.
 */
export interface Claim {
  readonly cookie: string | undefined;
  readonly authorization: string | undefined;
  readonly origin: string | undefined;
  /** Path and query, without secrets. */
  readonly uri: string;
  /** Why the credentials do not count: an expired token, a page of another site. */
  readonly fault: ProtocolError | undefined;
  /** The fault refuses the request even if anonymous clients have the right. */
  readonly isRefused: boolean;
  /** The right to open its handler; undefined: the request opens none. */
  connect: Need | undefined;
  /** When the app was last asked, or the claim was made, as `server.now`. */
  checkedAt: number;
  /** Cancels the question to the app that is under way. */
  cancel: (() => void) | undefined;
}
