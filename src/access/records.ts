/** The records of access: credentials, keys, the table of rights, and decisions. */
import type { KeyObject } from 'node:crypto';
import type { Right, Rule, Who } from '../options/rules.ts';
import type { Pattern } from '../protocol/pattern.ts';
import type { Identity } from '../records/identity.ts';

/** The credentials in the head of a request, verified. At most one of `identity` and `fault` is set. */
export interface Credentials {
  readonly identity?: Identity | undefined;
  /** Why the token or the link is not valid, a sentence. The client is anonymous, and a refusal may have the sentence. */
  readonly fault?: string | undefined;
  /** The credential was in a cookie, which browsers also send with requests of other sites' pages. */
  readonly byCookie: boolean;
}

/** The outcome for a token or a link: either is set. */
export type Verified =
  | { readonly identity: Identity; readonly fault?: undefined }
  | { readonly identity?: undefined; readonly fault: string };

export interface Decision {
  readonly isAllowed: boolean;
  /** The line that decided, or `default`. For the log, `why` and `pollywog allowed`. */
  readonly rule: string;
  readonly who: Who;
  /** It refuses an anonymous client, and may allow an identified one. */
  readonly needsIdentity: boolean;
  /** `identify`: 401 or 4401; `forbid`: 403 or 4403; undefined: it is allowed. */
  readonly refusal: 'identify' | 'forbid' | undefined;
  /** For the client, at most 123 bytes; empty if it is allowed. */
  readonly sentence: string;
}

/** A key that verifies signatures. Its type fixes the algorithm, not the token. */
export interface Key {
  readonly algorithm: 'HS256' | 'RS256' | 'ES256' | 'EdDSA';
  readonly key: KeyObject;
  /** Its name in a JWKS. */
  readonly id: string | undefined;
}

/** The configuration of access. A reload changes it in place. */
export interface Access {
  /** In the order in which they are tried. */
  rules: readonly Rule[];
  /** Of `--auth-key`; empty: tokens and links are ignored. */
  keys: readonly Key[];
  /** The required values of the claims `iss` and `aud`; empty: not given. */
  issuer: string;
  audience: string;
  /** The name of the cookie with the token; empty: no cookie. */
  tokenCookie: string;
}

export type { Identity, Pattern, Right, Rule, Who };
