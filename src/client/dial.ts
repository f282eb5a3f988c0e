/** From an address to an open WebSocket: TCP or a Unix socket, TLS, the opening handshake. */
import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectSecurely, type SecureContext } from 'node:tls';
import { ProtocolError } from '../protocol/codes.ts';
import { parseResponseHead, type ResponseHead } from '../protocol/http/head.ts';
import { defaults } from '../protocol/limits.ts';
import { type Agreement, finishHandshake, startHandshake } from '../protocol/websocket/clientHandshake.ts';
import type { Configuration } from './configuration.ts';
import { type Ending, Exit, ending, shownTime } from './ending.ts';
import { connectFailure, refusal } from './failures.ts';
import { showHead } from './trace.ts';

/** A connection whose handshake is done. The socket is paused, and has no listeners but one for errors. */
export interface Link {
  readonly socket: Socket;
  readonly agreement: Agreement;
  /** What came behind the handshake. */
  readonly rest: Buffer;
}

/** How much of a refusal's body is read for the sentence in it, and how long that is awaited. */
const maxRefusal = 4096;
const refusalTime = 1000;

/**
 * @param identity for TLS
 * @param trace receives each line of the handshake, in both directions
 */
export function dial(
  configuration: Configuration,
  identity: SecureContext | undefined,
  trace: (lines: readonly string[]) => void,
): Promise<Link | Ending> {
  const { address, request, timeout } = configuration;
  const nonce = randomBytes(16);
  const socket = openSocket(configuration, identity);
  return new Promise(resolve => {
    let received: Buffer = Buffer.alloc(0);
    let refused: { head: ResponseHead; end: number } | undefined;
    let timer: NodeJS.Timeout | undefined;
    const settle = (result: Link | Ending) => {
      clearTimeout(timer);
      socket.off('data', receive).off('end', finish).off('error', fail);
      // It may still fail: that is nothing new.
      socket.on('error', () => {});
      if (!('socket' in result)) socket.destroy();
      resolve(result);
    };
    const fail = (error: Error) => settle(connectFailure(error, configuration));
    const settleRefused = (head: ResponseHead, end: number) =>
      settle(refusal(head, received.subarray(end).toString('utf8')));
    const finish = () => {
      if (refused !== undefined) settleRefused(refused.head, refused.end);
      else {
        const advice =
          configuration.cert === '' ? '' : '; perhaps it does not accept our certificate (--cert)';
        settle(
          ending(Exit.Failed, `${address.shown} closed the connection without an answer${advice}`, true),
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
          trace(showHead('<', received.subarray(0, end)));
          if (head.status === 101) {
            socket.pause();
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
        settle(ending(Exit.ProtocolError, error.message));
      }
    };
    if (timeout > 0) {
      const late = `no handshake with ${address.shown} within ${shownTime(timeout)} (--timeout)`;
      timer = setTimeout(() => settle(ending(Exit.TimedOut, late, true)), timeout);
    }
    socket.once(address.isSecure ? 'secureConnect' : 'connect', () => {
      const head = startHandshake(request, nonce);
      trace(showHead('>', head));
      socket.write(head);
    });
    socket.on('data', receive).on('end', finish).on('error', fail);
  });
}

/** Bytes of a refusal's body that are worth waiting for. */
function bodyLength({ headers }: ResponseHead): number {
  const length = Number(headers.get('content-length') ?? maxRefusal);
  return Number.isNaN(length) ? 0 : Math.min(length, maxRefusal);
}

function openSocket(
  { address: { target, isSecure }, insecure }: Configuration,
  identity: SecureContext | undefined,
): Socket {
  if (!isSecure || 'path' in target) return connect({ ...target, noDelay: true });
  return connectSecurely({
    ...target,
    // RFC 6066 §3: an IP address is no server name.
    ...(isIP(target.host) === 0 ? { servername: target.host } : {}),
    // RFC 6455 is about HTTP/1.1; RFC 7301 lets us say so.
    ALPNProtocols: ['http/1.1'],
    rejectUnauthorized: !insecure,
    ...(identity === undefined ? {} : { secureContext: identity }),
  });
}
