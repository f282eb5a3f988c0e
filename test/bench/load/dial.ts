/** Connections of the load. They share one read buffer, and most reads are only counted: the load must stay cheap. */
import { connect, type Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import type { Target } from '../jobs.ts';

/** Called with each read. `bytes` is the shared buffer, of which the first `length` are new, until it returns. */
export type Receive = (length: number, bytes: Uint8Array) => void;

export interface Connection {
  readonly socket: Socket;
  receive: Receive;
}

/** Of all connections: each read is used up before the next one begins. */
const readBuffer = Buffer.allocUnsafe(256 * 1024);

/** The key, and its answer, of RFC 6455 §1.3. */
const upgradeRequest = Buffer.from(
  'GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
);
const acceptField = /^sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r$/im;

/** Bytes that the answer to the upgrade may have. */
const longestAnswer = 4096;

/** Counts connects and reads, so that silence can be told from work. */
let progress = 0;

/** Opens one connection, handshake included unless the target is raw. Whatever goes wrong on it ends the process. */
export function dial(target: Target): Promise<Connection> {
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
        if (end !== answer.length - 4 || !answer.startsWith('HTTP/1.1 101 ') || !acceptField.test(answer)) {
          fail(new Error(`the handshake was refused: ${answer.slice(0, longestAnswer)}`));
        }
        connection.receive = unexpected;
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
      socket.write(upgradeRequest);
    }
  });
}

/** Ends a connection with a reset, which leaves its port free at once. */
export function reset(connection: Connection): void {
  connection.socket.resetAndDestroy();
}

/** Opens `count` connections, a few at a time: a listener's backlog is bounded. */
export async function dialMany(target: Target, count: number): Promise<Connection[]> {
  const connections: Connection[] = [];
  const dialOn = async () => {
    for (let left = true; left; ) {
      left = started < count;
      started++;
      if (left) connections.push(await dial(target));
    }
  };
  let started = 0;
  await Promise.all(Array.from({ length: 64 }, dialOn));
  return connections;
}

/** Awaits `due` on the connection, and nothing more, compared byte for byte. */
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

/** From now on, `seconds` in which nothing arrives at any connection end the process. Returns what calls that off. */
export function failOnSilence(seconds: number, state: () => string): () => void {
  let last = progress;
  const timer = setInterval(() => {
    if (progress === last) fail(new Error(`nothing arrived for ${seconds} s: ${state()}`));
    last = progress;
  }, seconds * 1000);
  return () => clearInterval(timer);
}

/** Ends the process from where no caller could catch. */
export function fail(error: Error): never {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}

function unexpected(length: number): void {
  fail(new Error(`received ${length} bytes where none were due`));
}
