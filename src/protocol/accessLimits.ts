/** The limits of tokens, signed links and the table of rights; `limits.ts` has all others, and the rules for both. */

const KiB = 1024;

/** Characters of a pattern of paths or channels. Matching takes time in proportion. */
export const maxPatternLength = 1000;

/** A JWT: its signature is checked in one piece. Browsers and proxies limit URLs and cookies to this, too. */
export const maxJwtLength = 8 * KiB;

/** Characters of the name of a user. */
export const maxUserLength = 200;

/** How far the clocks of the site and of this server may differ. PyJWT's documentation advises seconds to minutes. */
export const clockLeeway = 60_000;

/** How far ahead a token or a link may expire: a later time is in milliseconds by mistake, and would never come. */
export const maxCredentialLifetime = 100 * 365 * 24 * 3_600_000;

/** The file of a key. The set of keys of a large provider, with its certificates, is about 20 KB. */
export const maxKeyFile = 256 * KiB;

/** Keys of all files together: a signature may be checked with each of them, which takes up to 0.1 ms. */
export const maxKeys = 32;

/** Bytes of a secret for HS256 (RFC 7518 §3.2), and different bytes among them: "aaaa…" is no secret. */
export const minSecretLength = 32;
export const minSecretBytes = 8;

/** Bits of an RSA key: RFC 7518 §3.3; checking a signature takes time in proportion to the square of its length. */
export const minRsaBits = 2048;
export const maxRsaBits = 8192;
