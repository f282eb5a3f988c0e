/** Connections of the load. To keep the load cheap, they share one read buffer and mostly just count bytes. */
import { connect, type Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import type { Target } from '../jobs.ts';

/** Called with each read. `bytes` is the shared buffer; its first `length` bytes are valid until the call returns. */
export type Receive = (length: number, bytes: Uint8Array) => void;

export interface Connection {
  readonly socket: Socket;
  receive: Receive;
}

/** Shared by all connections: each read is used up before the next one. */
const readBuffer = Buffer.allocUnsafe(256 * 1024);

/** The request that opens a connection, and its answer. */
export interface Opening {
  readonly request: Buffer;
  /** What the head of the answer must contain. */
  readonly accepted: readonly RegExp[];
  /** Whether bytes may follow the head at once. The load ignores them. */
  readonly isStream: boolean;
}

/** A handshake, with the key and the accept value of RFC 6455 §1.3. */
export function webSocket(path: string): Opening {
  return {
    request: Buffer.from(
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
    ),
    accepted: [/^HTTP\/1\.1 101 /, /^sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r$/im],
    isStream: false,
  };
}

/** The request of EventSource. */
export function eventStream(path: string): Opening {
  return {
    request: Buffer.from(
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nCache-Control: no-cache\r\n\r\n`,
    ),
    accepted: [/^HTTP\/1\.1 200 /, /^content-type: *text\/event-stream\b/im],
    isStream: true,
  };
}

const rootHandshake = webSocket('/');

/** The largest size of the answer to the handshake. */
const longestAnswer = 4096;

/** Counts connects and reads, to detect a silent server. */
let progress = 0;

/** Opens a connection, with a handshake unless the target is raw. Any error on it ends the process. */
export function dial(target: Target, opening = rootHandshake): Promise<Connection> {
  return new Promise(resolve => {
    const options = {
      host: '127.0.0.1',
      port: target.port,
      noDelay: true,
      rejectUnauthorized: false,
      onread: {
        buffer: readBuffer,
        callback(length: number, bytes: Uint8Array) {
          progress++;
          connection.receive(length, bytes);
          return true;
        },
      },
    };
    const socket = target.tls ? connectSecurely(options) : connect(options);
    let answer = '';
    const connection: Connection = {
      socket,
      receive(length, bytes) {
        answer += Buffer.from(bytes.buffer, bytes.byteOffset, length).toString('latin1');
        const end = answer.indexOf('\r\n\r\n');
        if (end < 0 && answer.length < longestAnswer) return;
        const isWhole = opening.isStream ? end >= 0 : end === answer.length - 4;
        if (!isWhole || !opening.accepted.every(part => part.test(answer)))
          fail(new Error(`the handshake was refused: ${answer.slice(0, longestAnswer)}`));
        connection.receive = opening.isStream ? () => {} : unexpected;
        resolve(connection);
      },
    };
    socket.on('error', fail);
    socket.on('end', () => fail(new Error('the server closed a connection')));
    if (target.raw) {
      socket.on('connect', () => {
        progress++;
        connection.receive = unexpected;
        resolve(connection);
      });
    } else {
      socket.write(opening.request);
    }
  });
}

/** Resets a connection, which frees its port at once. */
export function reset(connection: Connection): void {
  connection.socket.resetAndDestroy();
}

/** Opens `count` connections, a few at a time because of the listener's backlog. */
export async function dialMany(target: Target, count: number, opening?: Opening): Promise<Connection[]> {
  const connections: Connection[] = [];
  const dialOn = async () => {
    for (let left = true; left; ) {
      left = started < count;
      started++;
      if (left) connections.push(await dial(target, opening));
    }
  };
  let started = 0;
  await Promise.all(Array.from({ length: 64 }, dialOn));
  return connections;
}

/** Waits for exactly these bytes on the connection. */
export function expectBytes(connection: Connection, due: Buffer): Promise<void> {
  return new Promise(resolve => {
    let got = 0;
    connection.receive = (length, bytes) => {
      if (got + length > due.length) {
        fail(new Error(`received ${got + length} bytes where ${due.length} were due`));
      }
      for (let i = 0; i < length; i++, got++) {
        if (bytes[i] === due[got]) continue;
        fail(
          new Error(
            `the first answer has ${bytes[i]} instead of ${due[got]} at byte ${got} of ${due.length}`,
          ),
        );
      }
      if (got < due.length) return;
      connection.receive = unexpected;
      resolve();
    };
  });
}

/** Ends the process if nothing arrives on any connection for `seconds`. @returns a function that cancels this */
export function failOnSilence(seconds: number, state: () => string): () => void {
  let last = progress;
  const timer = setInterval(() => {
    if (progress === last) fail(new Error(`nothing arrived for ${seconds} s: ${state()}`));
    last = progress;
  }, seconds * 1000);
  return () => clearInterval(timer);
}

/** Ends the process with an error, from callbacks without a caller. */
export function fail(error: Error): never {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}

function unexpected(length: number): void {
  fail(new Error(`received ${length} bytes where none were due`));
}
