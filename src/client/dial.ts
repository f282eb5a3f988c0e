/** From a URL to an open WebSocket: certificates, TCP or a Unix socket, TLS, the opening handshake, and what can fail. */
import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectSecurely, createSecureContext, type SecureContext } from 'node:tls';
import { UsageError } from '../options/error.ts';
import { readAuthority, readPemPair } from '../options/tls.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { parseResponseHead, type ResponseHead } from '../protocol/http/head.ts';
import { defaults } from '../protocol/limits.ts';
import { type Agreement, finishHandshake, startHandshake } from '../protocol/websocket/clientHandshake.ts';
import type { Side } from '../recordings/recording.ts';
import type { ConnectionSettings } from './configuration.ts';
import { headLines } from './frames.ts';
import { ExitCode, type Outcome, outcome, showDuration } from './outcome.ts';

/** A connection after its handshake. The socket is paused, and its only listener is one for errors. */
export interface OpenConnection {
  readonly socket: Socket;
  readonly agreement: Agreement;
  /** Bytes that arrived after the handshake. */
  readonly rest: Buffer;
}

/** The maximum length of a refusal's body, whose first line is shown, and the maximum time to wait for it. */
const maxRefusal = 4096;
const refusalTime = 1000;

/**
 * @param identity for TLS
 * @param trace receives each line of the handshake, in both directions
 * @param observe receives the bytes of the handshake
 */
export function dial(
  configuration: ConnectionSettings,
  identity: SecureContext | undefined,
  trace: (lines: readonly string[]) => void,
  observe?: (from: Side, bytes: Uint8Array) => void,
): Promise<OpenConnection | Outcome> {
  const { address, request, timeout } = configuration;
  // RFC 6455 §4.1, 7 [4.1-25, 4.1-26]: a new random key for each connection.
  const nonce = randomBytes(16);
  const socket = openSocket(configuration, identity);
  return new Promise(resolve => {
    let received: Buffer = Buffer.alloc(0);
    let refused: { head: ResponseHead; end: number } | undefined;
    let timer: NodeJS.Timeout | undefined;
    const settle = (result: OpenConnection | Outcome) => {
      clearTimeout(timer);
      socket.off('data', receive).off('end', finish).off('error', fail);
      // Ignore later errors: the result is known.
      socket.on('error', () => {});
      if (!('socket' in result)) socket.destroy();
      resolve(result);
    };
    const fail = (error: Error) => settle(explainConnectFailure(error, configuration));
    const settleRefused = (head: ResponseHead, end: number) =>
      settle(explainRefusal(head, received.subarray(end).toString('utf8')));
    const finish = () => {
      if (refused !== undefined) settleRefused(refused.head, refused.end);
      else {
        const advice =
          configuration.cert === '' ? '' : '; perhaps it does not accept the client certificate (--cert)';
        settle(
          outcome(ExitCode.Failed, `${address.shown} closed the connection without an answer${advice}`, true),
        );
      }
    };
    const receive = (chunk: Buffer) => {
      const seen = received.length;
      received = seen === 0 ? chunk : Buffer.concat([received, chunk]);
      try {
        if (refused === undefined) {
          const parsed = parseResponseHead(received, 0, received.length, defaults.maxHeader, seen);
          if (parsed === undefined) return;
          const { head, end } = parsed;
          trace(headLines('<', received.subarray(0, end)));
          observe?.('server', received.subarray(0, end));
          if (head.status === 101) {
            socket.pause();
            // RFC 6455 §4.1 [4.1-36]: the client validates the response.
            settle({
              socket,
              agreement: finishHandshake(head, request, nonce),
              rest: received.subarray(end),
            });
            return;
          }
          refused = parsed;
          clearTimeout(timer);
          timer = setTimeout(finish, refusalTime);
        }
        if (received.length - refused.end >= bodyLength(refused.head)) finish();
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        // RFC 6455 §7.2.1 [7.2.1-1, 7.2.1-2]: an invalid response fails the connection.
        settle(outcome(ExitCode.ProtocolError, error.message));
      }
    };
    if (timeout > 0) {
      const late = `no handshake with ${address.shown} within ${showDuration(timeout)} (--timeout)`;
      timer = setTimeout(() => settle(outcome(ExitCode.TimedOut, late, true)), timeout);
    }
    socket.once(address.isSecure ? 'secureConnect' : 'connect', () => {
      const head = startHandshake(request, nonce);
      trace(headLines('>', head));
      observe?.('client', head);
      // RFC 6455 §4.1 [4.1-2, 4.1-17, 4.1-35]: sends the handshake, and nothing more before the response.
      socket.write(head);
    });
    // RFC 6455 §4.1 [4.1-12]: a connection that cannot be opened fails.
    socket.on('data', receive).on('end', finish).on('error', fail);
  });
}

/** How many bytes of a refusal's body to wait for. */
function bodyLength({ headers }: ResponseHead): number {
  const length = Number(headers.get('content-length') ?? maxRefusal);
  return Number.isNaN(length) ? 0 : Math.min(length, maxRefusal);
}

/** Starts to connect. The owner listens for `connect`, or `secureConnect` with TLS, and for errors. */
export function openSocket(
  { address: { target, isSecure }, insecure }: ConnectionSettings,
  identity: SecureContext | undefined,
): Socket {
  // RFC 6455 §4.1 [4.1-10, 4.1-13, 4.1-15]: the client connects directly, and with TLS for `wss:`.
  if (!isSecure || 'path' in target) return connect({ ...target, noDelay: true });
  const socket = connectSecurely({
    ...target,
    // RFC 6455 §4.1 [4.1-16]; RFC 6066 §3: an IP address is not a server name.
    ...(isIP(target.host) === 0 ? { servername: target.host } : {}),
    // RFC 7301: the handshake of RFC 6455 needs HTTP/1.1.
    ALPNProtocols: ['http/1.1'],
    // RFC 6455 §4.1 [4.1-14]: a certificate that cannot be verified fails the connection.
    rejectUnauthorized: !insecure,
    ...(identity === undefined ? {} : { secureContext: identity }),
  });
  return socket.setNoDelay(true);
}

/**
 * Reads the client's certificate and the trusted authorities, once for all connections.
 * @returns undefined if neither is configured
 * @throws UsageError with the option and the file
 */
export async function readIdentity({
  cert,
  key,
  ca,
}: ConnectionSettings): Promise<SecureContext | undefined> {
  if (cert === '' && ca.length === 0) return undefined;
  const authorities = await Promise.all(ca.map(file => readAuthority({ option: '--ca', file })));
  const pair =
    cert === ''
      ? undefined
      : await readPemPair(
          { option: '--cert', file: cert },
          { option: '--key', file: key === '' ? cert : key },
        );
  try {
    return createSecureContext({
      ...(pair === undefined ? {} : { cert: pair.cert, key: pair.key }),
      ...(authorities.length === 0 ? {} : { ca: authorities }),
    });
  } catch (error) {
    throw new UsageError(`--cert ${cert} cannot be used: ${(error as Error).message}`);
  }
}

/** Error codes of OpenSSL and Node for a certificate that is not trusted. */
const certificateFaults = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER|ALTNAME/;

/** Those of them that another authority (`--ca`) can cure. */
const authorityFaults = /^(?:DEPTH_ZERO_)?SELF_SIGNED|^UNABLE_TO_(?:GET_ISSUER|VERIFY_LEAF)/;

/** Explains why no connection was made, and what to do. */
export function explainConnectFailure(
  error: NodeJS.ErrnoException,
  configuration: ConnectionSettings,
): Outcome {
  const { address } = configuration;
  const { shown, target } = address;
  const code = error.code ?? '';
  if ('path' in target && (code === 'ENOENT' || code === 'ENOTSOCK' || code === 'ECONNREFUSED')) {
    return outcome(ExitCode.NoServer, `nothing listens at ${target.path}; is the server running?`, true);
  }
  if (code === 'ECONNREFUSED') {
    return outcome(ExitCode.NoServer, `nothing listens at ${shown}; is the server running?`, true);
  }
  if ((code === 'ENOTFOUND' || code === 'EAI_AGAIN') && 'host' in target) {
    return outcome(ExitCode.Failed, `unknown host ${target.host}`, true);
  }
  const alert = alertFrom(code, error.message);
  if (alert !== undefined) return outcome(ExitCode.Failed, explainAlert(alert, configuration));
  if (certificateFaults.test(code)) {
    // Another authority does not help with an expired certificate, or one for another name.
    const advice = authorityFaults.test(code) ? '--ca FILE trusts its authority; ' : '';
    const sentence = `the certificate of ${shown} is not trusted: ${error.message}; ${advice}--insecure accepts it`;
    return outcome(ExitCode.Failed, sentence);
  }
  if (code === 'EPROTO' || code.startsWith('ERR_SSL')) {
    const why = opensslReason(error.message);
    // RFC 5246 §7.4.6: TLS 1.2 has no special alert for a missing certificate.
    const isRefusal = why.includes('handshake failure') && configuration.cert === '';
    const advice = isRefusal ? ', or give a client certificate (--cert)' : '';
    return outcome(ExitCode.Failed, `no TLS with ${shown}: ${why}; try ws://${advice}`);
  }
  return outcome(ExitCode.Failed, `cannot connect to ${shown}: ${error.message || code}`, true);
}

/** Alerts of RFC 8446 §6.2 that are about the client's certificate, in OpenSSL's words. */
const certificateAlerts =
  /certificate required|bad certificate|unsupported certificate|certificate (?:revoked|expired|unknown)|unknown ca|access denied/;

/** The server's alert about the client's certificate, if one ended the handshake. */
function alertFrom(code: string, message: string): string | undefined {
  if (!/ALERT/.test(code)) return undefined;
  return certificateAlerts.exec(opensslReason(message))?.[0];
}

function explainAlert(alert: string, { address: { shown }, cert }: ConnectionSettings): string {
  if (cert === '') return `${shown} requires a client certificate (${alert}); give --cert and --key`;
  return `${shown} does not accept the client certificate: ${alert}; give another with --cert`;
}

/** Extracts the reason from `40E7:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../deps/…:`. */
function opensslReason(message: string): string {
  return /:error:[^:]*:[^:]*:[^:]*:([^:]+)/.exec(message)?.[1] ?? message.trim();
}

/** Explains a response other than 101. @param body the start of the body; its first line is shown */
function explainRefusal({ status, reason, headers }: ResponseHead, body: string): Outcome {
  const isText = !/html|chunked/i.test(
    `${headers.get('content-type') ?? ''} ${headers.get('transfer-encoding') ?? ''}`,
  );
  const [line = ''] = isText ? body.trimStart().split('\n', 1) : [];
  const location = headers.get('location');
  const parts = [
    `refused: ${status} ${reason}`.trimEnd(),
    ...(line.trim() === '' ? [] : [line.trim().slice(0, 500)]),
    ...(location === undefined ? [] : [`redirects to ${location}`]),
  ];
  // RFC 9110 §15.6, RFC 6585 §4: server errors and rate limits may be temporary.
  return outcome(ExitCode.Refused, parts.join(': '), status >= 500 || status === 429);
}
