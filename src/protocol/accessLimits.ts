/** The limits of tokens, signed links, the table of rights, and the app of `--auth-url`; `limits.ts` has all others, and the rules for both. */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Characters of a pattern of paths or channels. Matching takes time in proportion. */
export const maxPatternLength = 1000;

/** A JWT: its signature is checked in one piece. Browsers and proxies limit URLs and cookies to this, too. */
export const maxJwtLength = 8 * KiB;

/** Characters of the name of a user. */
export const maxUserLength = 200;

/** How far the clocks of the site and of this server may differ. PyJWT's documentation advises seconds to minutes. */
export const clockLeeway = 60_000;

/** How far ahead a token or a link may expire: a later time is in milliseconds by mistake. */
export const maxCredentialLifetime = 100 * 365 * 24 * 3_600_000;

/** The file of a key. The set of keys of a large provider, with its certificates, is about 20 KB. */
export const maxKeyFile = 256 * KiB;

/** Keys of all files together: a signature may be checked with each of them, which takes up to 0.1 ms. */
export const maxKeys = 32;

/** Bytes of a secret for HS256 (RFC 7518 §3.2), and different bytes among them: "aaaa…" is not a secret. */
export const minSecretLength = 32;
export const minSecretBytes = 8;

/** Bits of an RSA key: RFC 7518 §3.3; checking a signature takes time in proportion to the square of its length. */
export const minRsaBits = 2048;
export const maxRsaBits = 8192;

/** Checking one signature with a public key, in work units: 40 to 120 µs. */
export const signatureCost = 512;

// The app of --auth-url

/** How long an answer without a user is reused: short, because the next request may follow a log-in. */
export const refusalCacheTime = 1000;

/** Answers of the app that are kept, and their memory. */
export const maxAppAnswers = 10_000;
export const maxAppAnswerBytes = 8 * MiB;

/** Questions that wait for the app, and their memory; of one address a quarter of each. Beyond it, clients get 503. */
export const maxAppQuestions = 10_000;
export const maxAppQuestionBytes = 8 * MiB;

/** Waiting questions beyond which `--auth-recheck` adds none: the rest of the queue is for clients that connect. */
export const maxQueuedRechecks = 1000;

/** The share of `maxMemory` for questions, and for answers, if it is less than the limits above. */
export const appMemoryShare = 1 / 16;

/** Memory of a waiting question, and of a kept answer, besides their texts. Measured on Node 20: 0.9 KiB and 0.26 KiB. */
export const appQuestionMemory = 1 * KiB;
export const appAnswerMemory = 0.5 * KiB;

/** The header fields of one request to the app. They come from a head of `maxHeader`; percent-encoding triples bytes. */
export const maxAppFields = 48 * KiB;

/** Patterns in one answer. */
export const maxAppPatterns = 1000;

/** An idle connection to the app is closed before the app closes it. Node, Apache: after 5 s. */
export const appIdleTimeout = 4000;

/** Time between two log lines about failures of the app. */
export const appFailureLogInterval = 60_000;
