/**
 * The HTTP wire. A handshake turns the connection into a WebSocket; anything else gets one answer, and the connection
 * ends.
 */

import { reserve } from '../connection/arena.ts';
import type { Connection } from '../connection/connection.ts';
import type { Handler } from '../connection/handler.ts';
import { dropConnection, endConnection, queueRange } from '../connection/outbox.ts';
import type { Server } from '../connection/server.ts';
import type { Wire } from '../connection/wire.ts';
import { isLogged, log } from '../log/log.ts';
import { maxFirstLine } from '../protocol/bounds.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { newDeflateState } from '../protocol/deflate.ts';
import { newEndpoint } from '../protocol/endpoint.ts';
import type { DeflateParameters } from '../protocol/extensions.ts';
import { acceptHandshake, asksForWebSocket, type HandshakePolicy } from '../protocol/handshake.ts';
import { encodeResponse, type Head, parseRequestHead } from '../protocol/http.ts';
import { openSession } from '../session/processData.ts';
import { answerPage } from '../web/pages.ts';
import { websocket } from './websocket.ts';

export function newHttpWire(server: Server): Wire {
  const { origins, compress, maxHeader, maxConnections } = server.configuration;
  const policy: HandshakePolicy = {
    subprotocols: new Set(server.handlers.keys()),
    origins,
    compression: compress,
  };

  function answer(connection: Connection, head: Head): void {
    if (!asksForWebSocket(head)) {
      queueResponse(connection, answerPage(head, server.handlers));
      endConnection(connection);
      return;
    }
    if (maxConnections > 0 && server.connections > maxConnections) {
      throw new ProtocolError(503, `there are ${maxConnections} connections already; try again later`);
    }
    const accepted = acceptHandshake(head, policy);
    queueResponse(connection, accepted.response);
    const handler = chooseHandler(server, accepted.subprotocol, accepted.path);
    becomeWebSocket(connection, accepted.deflate);
    if (isLogged('debug')) {
      log('debug', 'opened', {
        id: connection.id,
        address: connection.socket.address(),
        handler: handler.name,
        path: accepted.path,
      });
    }
    openSession(connection, handler);
  }

  const wire: Wire = {
    name: 'http',

    receive(connection, bytes, start, end) {
      let method = '';
      try {
        const request = parseRequestHead(bytes, start, end, maxHeader, connection.inputSeen);
        method = request?.head.method ?? '';
        if (request === undefined) return start;
        answer(connection, request.head);
        return request.end;
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        refuse(connection, error, method);
        return end;
      }
    },

    matches: looksLikeHttp,
    isUrgent: () => false,
    close: endConnection,
    lost: endConnection,

    checkDeadlines(connection) {
      const { handshakeTimeout } = server.configuration;
      if (handshakeTimeout === 0 || server.now - connection.acceptedAt < handshakeTimeout) return;
      if (connection.input === undefined) dropConnection(connection);
      else refuse(connection, new ProtocolError(408, `no whole request within ${handshakeTimeout / 1000} s`));
    },
  };
  return wire;
}

/**
 * A method that HTTP has and a space, or a first line that ends in a version. What is not text is HTTP's, too, which says
 * what is wrong with it.
 */
function looksLikeHttp(bytes: Buffer, start: number, end: number): boolean | undefined {
  const head = bytes.toString('latin1', start, Math.min(end, start + maxFirstLine));
  if (/^(?:\r\n)?(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH) /.test(head)) return true;
  if (/^[\0-\x09\x0b\x0c\x0e-\x1f\x7f]/.test(head)) return true;
  const line = /^(?:\r\n)?([^\n]*)\n/.exec(head)?.[1];
  if (line === undefined) return head.length === maxFirstLine ? true : undefined;
  return / HTTP\/\d\S*\r?$/i.test(line);
}

/** The subprotocol decides, else the first segment of the path, else `--default`. */
function chooseHandler(server: Server, subprotocol: string | undefined, path: string): Handler {
  const { handlers, configuration } = server;
  const segment = path.split('/', 2)[1] ?? '';
  const handler =
    handlers.get(subprotocol ?? '') ?? handlers.get(segment) ?? handlers.get(configuration.defaultHandler);
  if (handler === undefined) throw new ProtocolError(404, 'nothing answers here');
  return handler;
}

function becomeWebSocket(connection: Connection, deflate: DeflateParameters | undefined): void {
  connection.endpoint = newEndpoint(
    'server',
    connection.server.configuration.maxMessage,
    deflate && newDeflateState(!deflate.clientNoContextTakeover, deflate.clientMaxWindowBits),
    deflate && newDeflateState(!deflate.serverNoContextTakeover, deflate.serverMaxWindowBits),
  );
  connection.wire = websocket;
}

/** Tells why, in the words of HTTP, and ends the connection. */
function refuse(connection: Connection, error: ProtocolError, method = ''): void {
  connection.server.counters.refused++;
  log('info', 'refused', {
    id: connection.id,
    address: connection.socket.address(),
    status: error.code,
    reason: error.message,
  });
  const sentence = `${error.message}\n`;
  const headers = {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': String(Buffer.byteLength(sentence)),
    ...error.headers,
  };
  // RFC 9110 §9.3.2: the answer to a HEAD has no content.
  queueResponse(connection, encodeResponse(error.code, headers, method === 'HEAD' ? '' : sentence));
  endConnection(connection);
}

function queueResponse(connection: Connection, response: Buffer): void {
  const chunk = reserve(response.length);
  chunk.used += response.copy(chunk.bytes, chunk.used);
  queueRange(connection, chunk, chunk.used - response.length, chunk.used);
}
