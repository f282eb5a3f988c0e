/**
 * Why a connection ends: who ended it, and by which rule or deadline, in a sentence. Code that ends a connection notes the
 * reason first. The first reason stays: its consequences do not replace it.
 */
import type { Configuration } from '../options/configuration.ts';
import { flagName } from '../options/option.ts';
import { duration } from '../options/values.ts';
import { CloseCode } from '../protocol/codes.ts';

/** `network`: the system reported an error. */
export type EndedBy = 'client' | 'server' | 'network';

/**
 * Why a connection ended, as a label for `metrics`: one of these, or the name of the option that set the limit or deadline.
 * A client cannot choose it.
 */
export type EndCause =
  | 'answered'
  | 'client_closed'
  | 'client_left'
  | 'command'
  | 'fault'
  | 'internal_error'
  | 'network_error'
  | 'place_needed'
  | 'protocol_error'
  | 'refused'
  | 'server_closed'
  | 'shutdown'
  | OptionCause;

/** The name of an option, such as `max_buffered`. */
type OptionCause = string & { readonly optionCause?: never };

/** The content of a close frame; code 1005 if it had none. */
export interface CloseFrame {
  readonly code: number;
  readonly reason: string;
}

export interface Ending {
  by: EndedBy;
  /** A sentence; empty until a reason is known. */
  why: string;
  cause: EndCause;
  /** A second sentence, if something that should have followed did not: the peer's close frame, for example. */
  aftermath: string | undefined;
  /** The system's name for the error: `ECONNRESET`. */
  errno: string | undefined;
  /** The status of the HTTP response that ended the connection. */
  status: number | undefined;
  /** The end needs no explanation: a page was served, for example. */
  isRoutine: boolean;
  /** The code and reason that the handler received, from the peer's close frame or, if we failed the connection, from ours. */
  code: number | undefined;
  reason: string | undefined;
  sent: CloseFrame | undefined;
  received: CloseFrame | undefined;
}

/** The part of a connection that explains its end. */
export interface Ended {
  ending: Ending | undefined;
  readonly server: { readonly configuration: Configuration };
  readonly wire: { readonly name: string };
  readonly endpoint: { readonly incoming: unknown } | undefined;
  readonly input: Buffer | undefined;
  readonly bytesIn: number;
}

export function endingOf(connection: Ended): Ending {
  connection.ending ??= {
    by: 'server',
    why: '',
    cause: 'server_closed',
    aftermath: undefined,
    errno: undefined,
    status: undefined,
    isRoutine: false,
    code: undefined,
    reason: undefined,
    sent: undefined,
    received: undefined,
  };
  return connection.ending;
}

interface Details {
  readonly errno?: string;
  readonly status?: number;
  readonly isRoutine?: boolean;
  readonly cause?: EndCause;
}

const none: Details = {};

/** The connection is about to end for this reason, unless it already has one. */
export function noteEnding(connection: Ended, by: EndedBy, why: string, details: Details = none): void {
  const ending = endingOf(connection);
  if (ending.why !== '') return;
  ending.by = by;
  ending.why = why;
  ending.cause = details.cause ?? causeOf(by, details.status);
  ending.errno = details.errno;
  ending.status = details.status;
  ending.isRoutine = details.isRoutine ?? false;
}

function causeOf(by: EndedBy, status: number | undefined): EndCause {
  if (status !== undefined) return 'refused';
  if (by === 'server') return 'server_closed';
  return by === 'client' ? 'client_closed' : 'network_error';
}

/** @returns `max_buffered` for `maxBuffered` */
function optionCause(option: string): OptionCause {
  return option.replaceAll(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);
}

/** We close the connection. The peer gets the same reason in the close frame. */
export function noteClosing(connection: Ended, reason: string): void {
  noteEnding(connection, 'server', reason === '' ? 'we closed it' : `we closed it: ${reason}`);
}

/** We close the connection because of an option, which the sentence names. */
export function noteRule(connection: Ended, rule: string, option: keyof Configuration): void {
  noteEnding(connection, 'server', `${rule} (${flagName(option)})`, { cause: optionCause(option) });
}

/** A deadline has passed. @param what what was missing: `no answer to a ping` */
export function noteDeadline(connection: Ended, what: string, option: Deadline): void {
  noteEnding(connection, 'server', overdue(connection, what, option), { cause: optionCause(option) });
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

/** A deadline has passed while the connection was ending: this is the reason only if there was none before. */
export function noteOverdue(connection: Ended, what: string, option: Deadline): void {
  const ending = endingOf(connection);
  const sentence = overdue(connection, what, option);
  if (ending.why === '') noteEnding(connection, 'server', sentence, { cause: optionCause(option) });
  else ending.aftermath ??= sentence;
}

/** The peer's close frame arrived. */
export function noteCloseReceived(connection: Ended, code: number, reason: string): void {
  endingOf(connection).received = { code, reason };
  const quoted = reason === '' ? '' : `: ${JSON.stringify(reason)}`;
  const meaning = closeCodeMeanings[code] === undefined ? '' : ` (${closeCodeMeanings[code]})`;
  const how = code === CloseCode.NoStatusReceived ? 'without saying why' : `with ${code}${meaning}${quoted}`;
  noteEnding(connection, 'client', `the client closed it ${how}`);
}

const closeCodeMeanings: Readonly<Record<number, string>> = {
  [CloseCode.NormalClosure]: 'it is done',
  [CloseCode.GoingAway]: 'it is going away: the page was left, or the program ended',
  [CloseCode.ProtocolError]: 'it says that we broke the protocol',
  [CloseCode.UnsupportedData]: 'it cannot handle the kind of data that we sent',
  [CloseCode.InvalidPayload]: 'it says that the data we sent was invalid',
  [CloseCode.PolicyViolation]: 'what we sent violates its policy',
  [CloseCode.MessageTooBig]: 'a message that we sent is too big for it',
  [CloseCode.InternalError]: 'it failed',
};

/** Our close frame was queued. */
export function noteCloseSent(connection: Ended, payload: Uint8Array): void {
  const bytes = Buffer.from(payload);
  const code = bytes.length < 2 ? CloseCode.NoStatusReceived : bytes.readUInt16BE();
  endingOf(connection).sent = { code, reason: bytes.toString('utf8', 2) };
}

/** We failed the connection, because the peer broke a rule. */
export function noteFailed(connection: Ended, code: number, reason: string, option?: string): void {
  const which = option === undefined ? '' : ` (${flagName(option)})`;
  const cause = option === undefined ? 'protocol_error' : optionCause(option);
  noteEnding(connection, 'server', `we failed it with ${code}, for what the client sent: ${reason}${which}`, {
    cause,
  });
}

/** The handler received this code and reason. */
export function noteSessionClosed(connection: Ended, code: number, reason: string): void {
  const ending = endingOf(connection);
  ending.code = code;
  ending.reason = reason;
}

/** The peer ended the TCP connection, or the system reported an error (`errno`). */
export function noteLost(connection: Ended, errno: string | undefined): void {
  if (errno !== undefined) {
    const meaning =
      errnoMeanings[errno] ?? (/^E[A-Z]+$/.test(errno) ? 'the system lost the connection' : 'TLS failed');
    // A peer that never sent anything is routine.
    noteEnding(connection, 'network', `${errno}: ${meaning}`, {
      errno,
      isRoutine: hasSaidNothing(connection),
    });
    return;
  }
  noteEnding(connection, 'client', howLeft(connection), {
    isRoutine: hasSaidNothing(connection),
    cause: 'client_left',
  });
}

/** Health checks end before the first byte, or after a PROXY header or TLS handshake, which do not count. */
function hasSaidNothing({ bytesIn, wire, input }: Ended): boolean {
  return bytesIn === 0 || (wire.name === 'unknown' && input === undefined);
}

function howLeft(connection: Ended): string {
  const { wire, endpoint, input } = connection;
  if (wire.name === 'websocket') {
    const isCut = endpoint?.incoming !== undefined || input !== undefined;
    const where = isCut ? ', in the middle of a message' : '';
    return `the client's side ended TCP without a close frame${where}: it was killed, or a proxy in between cut it off`;
  }
  if (hasSaidNothing(connection)) return 'the client left without saying anything';
  if (wire.name === 'tls handshake') return 'the client left during the TLS handshake';
  if (wire.name === 'http' || wire.name === 'unknown') return 'the client left before its request was whole';
  return 'the client ended the TCP connection';
}

/** The system's errors, in words. */
const errnoMeanings: Readonly<Record<string, string>> = {
  ECONNRESET: 'the peer, or something in between, reset the connection',
  EPIPE: 'the peer had closed the connection when we wrote to it',
  ETIMEDOUT: 'no answer from the peer: its machine or the route to it is down',
  ECONNABORTED: 'the system gave up on the connection',
  EHOSTUNREACH: 'there is no longer a route to the peer',
  ENETUNREACH: 'there is no longer a route to the peer',
  ENETDOWN: 'the network of this machine is down',
  ENETRESET: 'the network dropped the connection',
  ENOTCONN: 'the connection was gone already',
  ENOBUFS: 'the system has no memory left for the connection',
  ENOMEM: 'the system has no memory left for the connection',
  ECANCELED: 'the connection was abandoned during a write',
};
