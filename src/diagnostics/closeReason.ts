/**
 * Why a connection ends: who ended it, by which rule or deadline, in a sentence. Whatever ends a connection says so here
 * first; the first cause counts, and what follows from it does not replace it.
 */
import type { Configuration } from '../options/configuration.ts';
import { flagName } from '../options/option.ts';
import { duration } from '../options/values.ts';
import { CloseCode } from '../protocol/codes.ts';

/** `network`: the system lost the connection, whoever's fault that was. */
export type EndedBy = 'client' | 'server' | 'network';

/** A close frame. 1005 is one that names no code. */
export interface CloseSaid {
  readonly code: number;
  readonly reason: string;
}

export interface Ending {
  by: EndedBy;
  /** A sentence; empty while nobody knows. */
  why: string;
  /** What came of it that should not have, if anything did: another sentence. */
  aftermath: string | undefined;
  /** The system's name of the error: `ECONNRESET`. */
  errno: string | undefined;
  /** Of the HTTP response that was the end. */
  status: number | undefined;
  /** Nothing that anyone will ask about: a page was served. */
  isOrdinary: boolean;
  /** As the handler was told: of the peer's close frame or, where we failed the connection, of ours; 1005, 1006. */
  code: number | undefined;
  reason: string | undefined;
  sent: CloseSaid | undefined;
  received: CloseSaid | undefined;
}

/** What the sentence that explains an end is made of. */
export interface Ended {
  ending: Ending | undefined;
  readonly server: { readonly configuration: Configuration };
  readonly wire: { readonly name: string };
  readonly endpoint: { readonly incoming: unknown } | undefined;
  readonly input: Buffer | undefined;
  readonly bytesIn: number;
}

/** What is known so far; made where nothing is. */
export function endingOf(connection: Ended): Ending {
  connection.ending ??= {
    by: 'server',
    why: '',
    aftermath: undefined,
    errno: undefined,
    status: undefined,
    isOrdinary: false,
    code: undefined,
    reason: undefined,
    sent: undefined,
    received: undefined,
  };
  return connection.ending;
}

interface Particulars {
  readonly errno?: string;
  readonly status?: number;
  readonly isOrdinary?: boolean;
}

const none: Particulars = {};

/** The connection ends, or is about to, because of this; if something else ends it already, that stays the cause. */
export function noteEnding(
  connection: Ended,
  by: EndedBy,
  why: string,
  particulars: Particulars = none,
): void {
  const ending = endingOf(connection);
  if (ending.why !== '') return;
  ending.by = by;
  ending.why = why;
  ending.errno = particulars.errno;
  ending.status = particulars.status;
  ending.isOrdinary = particulars.isOrdinary ?? false;
}

/** We close it, for a reason that the peer is told in these words. */
export function noteClosing(connection: Ended, reason: string): void {
  noteEnding(connection, 'server', reason === '' ? 'we closed it' : `we closed it: ${reason}`);
}

/** We close it because of an option, which the sentence names. */
export function noteRule(connection: Ended, rule: string, option: keyof Configuration): void {
  noteEnding(connection, 'server', `${rule} (${flagName(option)})`);
}

/** The same for a deadline: `no answer to a ping`, `pongTimeout`. */
export function noteDeadline(connection: Ended, what: string, option: Deadline): void {
  noteEnding(connection, 'server', overdue(connection, what, option));
}

type Deadline =
  | 'handshakeTimeout'
  | 'pongTimeout'
  | 'idleTimeout'
  | 'closeTimeout'
  | 'pollTimeout'
  | 'drainTimeout';

function overdue({ server }: Ended, what: string, option: Deadline): string {
  return `${what} within ${duration.show(server.configuration[option])} (${flagName(option)})`;
}

/** Something was to follow, and did not in time: the connection is ended without it. If nothing ended it before, this does. */
export function noteOverdue(connection: Ended, what: string, option: Deadline): void {
  const ending = endingOf(connection);
  const sentence = overdue(connection, what, option);
  if (ending.why === '') noteEnding(connection, 'server', sentence);
  else ending.aftermath ??= sentence;
}

/** The peer's close frame came. */
export function noteCloseReceived(connection: Ended, code: number, reason: string): void {
  endingOf(connection).received = { code, reason };
  const quoted = reason === '' ? '' : `: ${JSON.stringify(reason)}`;
  const meaning = meanings[code] === undefined ? '' : ` (${meanings[code]})`;
  const how = code === CloseCode.NoStatusReceived ? 'without saying why' : `with ${code}${meaning}${quoted}`;
  noteEnding(connection, 'client', `the client closed it ${how}`);
}

const meanings: Readonly<Record<number, string>> = {
  [CloseCode.NormalClosure]: 'it is done',
  [CloseCode.GoingAway]: 'it goes away: its page was left, or its program ended',
  [CloseCode.ProtocolError]: 'it says that we broke the protocol',
  [CloseCode.UnsupportedData]: 'it cannot take what it was sent',
  [CloseCode.InvalidPayload]: 'it says that what it was sent was not valid',
  [CloseCode.PolicyViolation]: 'it does not allow what it was sent',
  [CloseCode.MessageTooBig]: 'what it was sent is too big for it',
  [CloseCode.InternalError]: 'it failed',
};

/** Our close frame was queued. */
export function noteCloseSent(connection: Ended, payload: Uint8Array): void {
  const bytes = Buffer.from(payload);
  const code = bytes.length < 2 ? CloseCode.NoStatusReceived : bytes.readUInt16BE();
  endingOf(connection).sent = { code, reason: bytes.toString('utf8', 2) };
}

/** The peer broke a rule, and the connection was failed with this code and reason. */
export function noteFailed(connection: Ended, code: number, reason: string): void {
  const option = code === CloseCode.MessageTooBig && reason.endsWith('here') ? 'maxMessage' : undefined;
  const which = option === undefined ? '' : ` (${flagName(option)})`;
  noteEnding(connection, 'server', `we failed it with ${code}, for what the client sent: ${reason}${which}`);
}

/** What its handler was told. */
export function noteClosed(connection: Ended, code: number, reason: string): void {
  const ending = endingOf(connection);
  ending.code = code;
  ending.reason = reason;
}

/** The peer ended TCP, or the system lost the connection (`errno`). */
export function noteLost(connection: Ended, errno: string | undefined): void {
  if (errno !== undefined) {
    const meaning =
      errors[errno] ?? (/^E[A-Z]+$/.test(errno) ? 'the system lost the connection' : 'TLS failed');
    // Who never said anything need not be explained.
    noteEnding(connection, 'network', `${errno}: ${meaning}`, {
      errno,
      isOrdinary: hasSaidNothing(connection),
    });
    return;
  }
  noteEnding(connection, 'client', howLeft(connection), { isOrdinary: hasSaidNothing(connection) });
}

/** A proxy's header and the handshake of TLS say nothing yet: health checks end there. */
function hasSaidNothing({ bytesIn, wire, input }: Ended): boolean {
  return bytesIn === 0 || (wire.name === 'unknown' && input === undefined);
}

function howLeft(connection: Ended): string {
  const { wire, endpoint, input } = connection;
  if (wire.name === 'websocket') {
    const isCut = endpoint?.incoming !== undefined || input !== undefined;
    const where = isCut ? ', in the midst of a message' : '';
    return `the client's side ended TCP without a close frame${where}: it was killed, or a proxy between cut it`;
  }
  if (hasSaidNothing(connection)) return 'the client left without saying anything';
  if (wire.name === 'tls handshake') return 'the client left in the midst of the handshake of TLS';
  if (wire.name === 'http' || wire.name === 'unknown') return 'the client left before its request was whole';
  return 'the client ended the TCP connection';
}

/** What the system's errors mean for a connection. */
const errors: Readonly<Record<string, string>> = {
  ECONNRESET: 'the peer, or something between, reset the connection',
  EPIPE: 'the peer had closed the connection when we wrote to it',
  ETIMEDOUT: 'nothing came back from the peer: its machine or the way there is gone',
  ECONNABORTED: 'the system gave the connection up',
  EHOSTUNREACH: 'there is no way to the peer any more',
  ENETUNREACH: 'there is no way to the peer any more',
  ENETDOWN: 'the network of this machine is down',
  ENETRESET: 'the network dropped the connection',
  ENOTCONN: 'the connection was gone already',
  ENOBUFS: 'the system has no memory left for the connection',
  ENOMEM: 'the system has no memory left for the connection',
  ECANCELED: 'the connection was given up while something was written',
};
