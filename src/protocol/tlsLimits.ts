/** The limits of TLS. Sizes are in bytes. */

const KiB = 1024;

/**
 * A ClientHello. OpenSSL takes 131,396 bytes. Real ones have 0.3 to 2 KiB: a key share for a post-quantum cipher takes 1.2 KiB, a
 * session ticket a few hundred bytes.
 */
export const maxClientHello = 16 * KiB;

/** The content of one record (RFC 8446 §5.1). */
export const maxTlsRecord = 16 * KiB;

/** A TLS connection from its ClientHello on, with two Node streams and OpenSSL's state. Measured when idle: 30 KiB. */
export const tlsMemory = 32 * KiB;

/** The work of a TLS handshake, in work units: a signature with an RSA key of 2,048 bits takes half a millisecond. */
export const tlsHandshakeCost = 4096;

/** Records of one connection that are delivered before its turn. Each takes a microsecond, whatever its size. */
export const maxRecordsAtOnce = 256;
