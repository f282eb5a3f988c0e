/** The roles, opcodes and close codes of RFC 6455, and the error that carries a code. */

/** Our side of the connection: a client masks its frames, a server must not (RFC 6455 §5.1). */
export type Role = 'server' | 'client';

/** Opcodes, RFC 6455 §5.2, §11.8 [5.2-b]. A set high bit (8 and up) marks a control frame (§5.5). */
export const Opcode = {
  Continuation: 0x0,
  Text: 0x1,
  Binary: 0x2,
  Close: 0x8,
  Ping: 0x9,
  Pong: 0xa,
} as const;

/** The names of frames in traces, recordings, scripts and explanations; undefined for the reserved opcodes. */
export const opcodeNames: ReadonlyMap<number, string> = new Map([
  [Opcode.Continuation, 'continuation'],
  [Opcode.Text, 'text'],
  [Opcode.Binary, 'binary'],
  [Opcode.Close, 'close'],
  [Opcode.Ping, 'ping'],
  [Opcode.Pong, 'pong'],
]);

/** Close codes by their registered names, RFC 6455 §7.4.1 and IANA's registry. */
export const CloseCode = {
  NormalClosure: 1000,
  GoingAway: 1001,
  ProtocolError: 1002,
  UnsupportedData: 1003,
  /** Never on the wire: the close frame had no code. */
  NoStatusReceived: 1005,
  /** Never on the wire: the connection ended without a close frame. */
  AbnormalClosure: 1006,
  InvalidPayload: 1007,
  PolicyViolation: 1008,
  MessageTooBig: 1009,
  MandatoryExtension: 1010,
  InternalError: 1011,
  ServiceRestart: 1012,
  TryAgainLater: 1013,
  /** Ours, as the HTTP status 401: the client must say who it is. */
  NotIdentified: 4401,
  /** Ours, as the HTTP status 403: the client may not do this. */
  NotAllowed: 4403,
  /** Pollywog's own code, after the HTTP status 409: the client deviated from the script. */
  ScriptDiffers: 4409,
} as const;

/** The close code of a WebSocket whose handshake would be refused with this HTTP status. */
export function closeCodeFor(status: number): number {
  if (status === 401) return CloseCode.NotIdentified;
  return status === 403 ? CloseCode.NotAllowed : CloseCode.TryAgainLater;
}

/** The codes that `isSendableCloseCode` allows, in words. */
export const sendableCloseCodes = '1000 to 1003, 1007 to 1014 or 3000 to 4999 (no other may be sent)';

/**
 * Whether a peer may put `code` into a close frame.
 * RFC 6455 §7.4.2 [7.4.2-a, 7.4.2-b, 7.4.2-c, 7.4.2-d]: 0 to 999 are not used. 1000 to 2999 belong to the protocol and
 * its registry: 1004, 1005, 1006 and 1015 must not be sent, and unassigned codes, 1016 to 2999, are refused too. 3000 to
 * 4999 belong to libraries and applications.
 */
export function isSendableCloseCode(code: number): boolean {
  // RFC 6455 §7.4.1 [7.4.1-d, 7.4.1-3, 7.4.1-4, 7.4.1-6, 7.4.1-1]: the defined codes, without those that are reserved.
  return (
    (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) ||
    (code >= 3000 && code <= 4999)
  );
}

/**
 * A reason to refuse a request or fail a connection, usually a violation by the peer. The wire that reads the input catches
 * it, and answers with an HTTP response if `code` is an HTTP status (below 1000), else with a close frame.
 */
export class ProtocolError extends Error {
  /** A close code (1000 and up), or the HTTP status (below 1000) of a rejected request. */
  readonly code: number;
  /** Header fields of the HTTP response. */
  readonly headers: Readonly<Record<string, string>>;
  /** The option that sets the violated limit, if there is one. */
  readonly option: string | undefined;
  /** What the log and `why` say besides, by name. The peer does not learn it. */
  readonly details: Readonly<Record<string, string>>;

  constructor(
    code: number,
    reason: string,
    headers: Readonly<Record<string, string>> = {},
    option: string | undefined = undefined,
    details: Readonly<Record<string, string>> = {},
  ) {
    super(reason);
    this.name = 'ProtocolError';
    this.code = code;
    this.headers = headers;
    this.option = option;
    this.details = details;
  }
}
