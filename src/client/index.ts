/** The client as a library: `import { connect } from 'pollywog/client'`. Its types are in interface.ts. */

import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import { invalidValue } from '../options/error.ts';
import { readNamedOptions } from '../options/object.ts';
import { readValues } from '../options/option.ts';
import { CloseCode } from '../protocol/codes.ts';
import { maxControlPayload } from '../protocol/limits.ts';
import { maxUntakenMessages } from '../protocol/testLimits.ts';
import { messageBytes, messageText } from '../protocol/websocket/message.ts';
import { type ConnectionSettings, connectionSettings } from './configuration.ts';
import { dial, type OpenConnection, readIdentity } from './dial.ts';
import type { Client, Closing, ConnectOptions } from './interface.ts';
import { clientOptions, closeFrame } from './options.ts';
import {
  isBackpressured,
  isOpen,
  pingServer,
  resumeReading,
  type SessionListener,
  sendData,
  startClose,
  startSession,
  untilChange,
} from './session.ts';

type ConnectOptionName = keyof typeof clientOptions & keyof ConnectOptions;

const known = Object.entries(clientOptions)
  .filter(([name, { group }]) => group === 'Connecting' && name !== 'reconnect')
  .map(([name]) => name as ConnectOptionName);

/** Opens a WebSocket. @throws Error with a sentence if that fails */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Client> {
  const settings = readSettings(url, options);
  return newClient(await openConnection(settings), settings);
}

/** Opens a WebSocket, and leaves its frames to the caller. @throws Error with a sentence if that fails */
export async function connectSocket(url: string, options: ConnectOptions = {}): Promise<Socket> {
  const { socket, rest } = await openConnection(readSettings(url, options));
  if (rest.length > 0) socket.unshift(rest);
  return socket;
}

/** @throws UsageError */
function readSettings(url: string, options: ConnectOptions): ConnectionSettings {
  const given = readNamedOptions({ ...options }, known, 'see pollywog-client --help');
  return connectionSettings(url, readValues(clientOptions, [given]));
}

async function openConnection(settings: ConnectionSettings): Promise<OpenConnection> {
  const connection = await dial(settings, await readIdentity(settings), () => {});
  if ('exit' in connection) throw new Error(connection.sentence);
  return connection;
}

/** Received messages that wait for `next`, or calls of `next` that wait for a message. */
interface Inbox {
  readonly messages: (string | Buffer)[];
  /** Bytes of these messages. */
  size: number;
  readonly takers: ((message: string | Buffer | undefined) => void)[];
  isPaused: boolean;
  /** The connection is closing: further messages are discarded. */
  isClosed: boolean;
}

interface AwaitedPong {
  readonly payload: Buffer;
  readonly resolve: (milliseconds: number) => void;
  readonly reject: (error: Error) => void;
  readonly sentAt: number;
}

function newClient(connection: OpenConnection, settings: ConnectionSettings): Client {
  const inbox: Inbox = { messages: [], size: 0, takers: [], isPaused: false, isClosed: false };
  const pongs: AwaitedPong[] = [];
  let closing: Closing = { code: CloseCode.AbnormalClosure, reason: '' };

  const listener: SessionListener = {
    message(message) {
      if (inbox.isClosed) return false;
      const { isText } = message;
      const size = message.end - message.start;
      const content = isText ? messageText(message) : messageBytes(message);
      const taker = inbox.takers.shift();
      if (taker !== undefined) taker(content);
      else {
        inbox.messages.push(content);
        inbox.size += size;
      }
      return true;
    },
    flush() {
      inbox.isPaused = inbox.size > maxUntakenMessages;
      return !inbox.isPaused;
    },
    trace() {},
    pong({ bytes, start, end }) {
      const payload = Buffer.from(bytes.subarray(start, end));
      const at = pongs.findIndex(pong => pong.payload.equals(payload));
      // RFC 6455 §5.5.3: a peer may answer only the last of several pings.
      for (const { resolve, sentAt } of pongs.splice(0, at + 1)) resolve(performance.now() - sentAt);
    },
    closed(code, reason) {
      closing = { code, reason };
    },
  };
  const session = startSession(connection, settings, listener);

  function endInbox(): void {
    inbox.isClosed = true;
    for (const taker of inbox.takers.splice(0)) taker(undefined);
  }

  function resume(): void {
    if (!inbox.isPaused) return;
    inbox.isPaused = false;
    resumeReading(session);
  }

  /** `untilChange` supports one waiter, so concurrent sends share it. */
  let change: Promise<void> | undefined;
  function nextChange(): Promise<void> {
    change ??= untilChange(session).then(() => {
      change = undefined;
    });
    return change;
  }

  const closed = session.ended.then(() => {
    endInbox();
    for (const { reject } of pongs.splice(0)) reject(new Error('the connection ended before the pong'));
    return closing;
  });

  const client: Client = {
    subprotocol: connection.agreement.subprotocol,
    get isOpen() {
      return isOpen(session);
    },
    closed,
    async next() {
      const message = inbox.messages.shift();
      if (message === undefined)
        return inbox.isClosed ? undefined : new Promise(resolve => inbox.takers.push(resolve));
      inbox.size -= Buffer.byteLength(message);
      if (inbox.size <= maxUntakenMessages / 2) resume();
      return message;
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const message = await client.next();
        if (message === undefined) return;
        yield message;
      }
    },
    async send(message) {
      const isText = typeof message === 'string';
      sendData(session, isText, isText ? Buffer.from(message) : message);
      while (isOpen(session) && isBackpressured(session)) await nextChange();
    },
    ping(payload = '') {
      const bytes = Buffer.from(payload);
      if (bytes.length > maxControlPayload)
        throw invalidValue('the payload of a ping', `at most ${maxControlPayload} bytes`, bytes.length);
      return new Promise((resolve, reject) => {
        if (!isOpen(session)) return reject(new Error('the connection is not open'));
        pongs.push({ payload: bytes, resolve, reject, sentAt: performance.now() });
        pingServer(session, bytes);
      });
    },
    sendRaw(bytes) {
      session.socket.write(bytes);
    },
    close(code = CloseCode.NormalClosure, reason = '') {
      const frame = closeFrame.parse(`${code}:${reason}`);
      if (frame === undefined) throw invalidValue('close', closeFrame.expected, `${code}:${reason}`);
      inbox.messages.length = 0;
      inbox.size = 0;
      endInbox();
      startClose(session, frame);
      resume();
      return closed;
    },
    destroy() {
      session.socket.destroy();
    },
    unref() {
      session.socket.unref();
      return client;
    },
    async [Symbol.asyncDispose]() {
      await client.close();
    },
  };
  return client;
}
