/**
 * The workbench: a client of this server inside the server. The page supplies its bytes.
 *
 * Its connections begin at the HTTP wire, like those of any client that sends a handshake: rules of access, `--origin`, limits and
 * rates apply. They have the address, and with TLS the security, of the inspector's own connection. So they share its limits, and
 * those of a remote page do not become local clients. They have no rights of the inspector: to be a user, the page adds the user's
 * credentials to the handshake.
 */
import { randomBytes } from 'node:crypto';
import { rejectionOf } from '../../core/admission.ts';
import { addConnection } from '../../core/connection.ts';
import { isLogged, log } from '../../log/log.ts';
import { ProtocolError } from '../../protocol/codes.ts';
import { parseResponseHead, type ResponseHead } from '../../protocol/http/head.ts';
import {
  maxCompressedAnswer,
  maxDecodedFrame,
  maxInspectedFrames,
  maxWorkbenchAnswer,
  maxWorkbenches,
  maxWorkbenchInput,
} from '../../protocol/inspectorLimits.ts';
import { absoluteMaxHeader } from '../../protocol/limits.ts';
import { startHandshake } from '../../protocol/websocket/clientHandshake.ts';
import {
  type DecodedEvent,
  decode,
  decoderMemory,
  newSessionDecoder,
  type SessionDecoder,
} from '../../recordings/decoder.ts';
import type { Connection, Wire } from '../../records/records.ts';
import type { InspectedFrame, OpenMessage, ServerMessage } from './messages.ts';
import { addContent, showBytes, showFrameHeader, showHead } from './shown.ts';
import { WorkbenchSocket } from './workbenchSocket.ts';

/** The page of a workbench. */
export interface WorkbenchPage {
  /** The inspector's connection. */
  readonly connection: Connection;
  readonly wire: Wire;
  readonly nextFrame: () => number;
  send(message: ServerMessage): void;
  /** Whether the page keeps up. */
  isReading(): boolean;
}

export interface Workbench {
  readonly id: number;
  readonly socket: WorkbenchSocket;
  readonly page: WorkbenchPage;
  readonly decoder: SessionDecoder;
  readonly request: string;
  /** Bytes of the response to the handshake, until it is complete. */
  head: Buffer | undefined;
  response: string | undefined;
  frames: InspectedFrame[];
  skipped: number;
  /** The page has not got all frames and output. */
  isPending: boolean;
  isScheduled: boolean;
  /** The server has freed the connection. */
  hasEnded: boolean;
  readonly onGone: () => void;
}

const decoderLimits = { frame: maxDecodedFrame, message: maxDecodedFrame, isBeginningEnough: true };

/**
 * Opens a connection. The page gets `opened` or `shut`.
 * @param others those of this page, by id; it is added, and removed when it has ended
 * @throws ProtocolError 409 with the reason if no connection was opened
 */
export function openWorkbench(
  page: WorkbenchPage,
  message: OpenMessage,
  others: Map<number, Workbench>,
): void {
  const { connection: own, wire } = page;
  const { server, address, security } = own;
  const { id } = message;
  if (others.has(id)) throw new ProtocolError(409, `the workbench connection ${id} is open already`);
  if (others.size >= maxWorkbenches)
    throw new ProtocolError(409, `${maxWorkbenches} workbench connections are open already; close one`);
  const request = requestOf(message);
  const rejection = rejectionOf(server, address);
  if (rejection !== undefined)
    throw new ProtocolError(409, `the server takes no new connection from this address now (${rejection})`);
  const socket = new WorkbenchSocket(address, {
    written: () => schedule(workbench),
    destroyed: () => {
      workbench.hasEnded = true;
      schedule(workbench);
    },
  });
  const workbench: Workbench = {
    ...{ id, socket, page, request: request.toString('latin1') },
    decoder: newSessionDecoder(event => noteDecoded(workbench, event), decoderLimits),
    ...{ head: Buffer.alloc(0), response: undefined, frames: [], skipped: 0 },
    ...{ isPending: false, isScheduled: false, hasEnded: false },
    onGone: () => others.delete(id),
  };
  others.set(id, workbench);
  server.counters.accepted++;
  const connection = addConnection(server, socket, wire, false, address);
  connection.security = security;
  const { serial } = connection;
  if (isLogged('debug')) log('debug', 'connected', { id: connection.id, serial, address, workbench: own.id });
  sendFromPage(workbench, request);
}

function requestOf({ path, subprotocols, isCompressed, headers = {} }: OpenMessage): Buffer {
  const { host = 'localhost', ...others } = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase() === 'host' ? 'host' : name, value]),
  );
  try {
    return startHandshake(
      {
        ...{ host, path, subprotocols, headers: others, origin: undefined },
        compression: isCompressed ? 'takeover' : 'off',
      },
      randomBytes(16),
    );
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new ProtocolError(409, error.message);
  }
}

/** Sends raw bytes of the client. @throws ProtocolError 409 if the server does not take them */
export function sendFromPage(workbench: Workbench, bytes: Buffer): void {
  const { socket, decoder } = workbench;
  if (socket.unread + bytes.length > maxWorkbenchInput)
    throw new ProtocolError(409, 'the server does not read from this connection; wait, or shut it');
  decodePart(decoder, 'client', bytes);
  workbench.isPending = true;
  socket.receive(bytes);
  schedule(workbench);
}

/** The client ends its direction, or with `isReset` drops the connection. */
export function shutWorkbench({ socket }: Workbench, isReset: boolean): void {
  if (isReset) socket.drop();
  else socket.finish();
}

/** Bytes of memory, besides those that the connection's own socket counts. */
export function workbenchMemory({ decoder, frames }: Workbench): number {
  return decoderMemory(decoder) + frames.length * 1024;
}

function decodePart(decoder: SessionDecoder, from: 'client' | 'server', bytes: Buffer): void {
  decode(decoder, from, bytes, 0, bytes.length, performance.timeOrigin + performance.now());
}

function noteDecoded(workbench: Workbench, event: DecodedEvent): void {
  const { frames, page } = workbench;
  if (frames.length >= maxInspectedFrames) {
    workbench.skipped++;
    return;
  }
  const time = Math.round(event.at * 1000) / 1000;
  const number = page.nextFrame();
  if (event.kind === 'bytes') frames.push(showBytes(number, time, event));
  else if (event.kind !== 'frame') frames.push(showHead(number, time, event));
  else {
    const shown = showFrameHeader(number, time, event, event.raw!);
    if (event.content !== undefined) addContent(shown, event.opcode, event.content);
    else if (event.opcode < 8 && event.isFinal) shown.isUninflated = true;
    frames.push(shown);
  }
}

function schedule(workbench: Workbench): void {
  workbench.isPending = true;
  if (workbench.isScheduled) return;
  workbench.isScheduled = true;
  setImmediate(() => {
    workbench.isScheduled = false;
    drainWorkbench(workbench);
  });
}

/** Sends the page what the server has written, if it reads. Called by events, and each tick. */
export function drainWorkbench(workbench: Workbench): void {
  const { page, socket, decoder, hasEnded } = workbench;
  if (!workbench.isPending || !page.isReading()) return;
  const bytes = socket.take(decoder.server.inflater === undefined ? maxWorkbenchAnswer : maxCompressedAnswer);
  decodePart(decoder, 'server', bytes);
  workbench.isPending = socket.unsent() > 0;
  const answer = workbench.head === undefined ? bytes : readResponse(workbench, workbench.head, bytes);
  const { id, frames, skipped } = workbench;
  if (answer.length > 0 || frames.length > 0 || skipped > 0) {
    workbench.frames = [];
    workbench.skipped = 0;
    page.send({ type: 'answer', id, hex: answer.toString('hex'), frames, skipped });
  }
  if (workbench.isPending) schedule(workbench);
  else if (hasEnded) end(workbench);
}

/** @returns the bytes behind the response */
function readResponse(workbench: Workbench, before: Buffer, bytes: Buffer): Buffer {
  const all = Buffer.concat([before, bytes]);
  const none = all.subarray(0, 0);
  workbench.head = all.subarray(0, maxWorkbenchAnswer);
  const parsed = parseHead(all);
  if (parsed === undefined) return none;
  workbench.response = all.toString('latin1', 0, parsed.end);
  if (parsed.head.status !== 101) return none;
  workbench.head = undefined;
  const { headers } = parsed.head;
  const { id, page, request, response, socket } = workbench;
  page.send({
    ...{ type: 'opened', id, request, response },
    serial: socket.connection.serial,
    subprotocol: headers.get('sec-websocket-protocol') ?? '',
    isCompressed: headers.has('sec-websocket-extensions'),
  });
  return all.subarray(parsed.end);
}

function parseHead(bytes: Buffer): { head: ResponseHead; end: number } | undefined {
  try {
    return parseResponseHead(bytes, 0, bytes.length, absoluteMaxHeader);
  } catch (error) {
    // A fault may have altered it.
    if (!(error instanceof ProtocolError)) throw error;
    return undefined;
  }
}

function end(workbench: Workbench): void {
  const { id, page, head, socket, onGone } = workbench;
  const { ending } = socket.connection;
  onGone();
  page.send({
    ...{ type: 'shut', id, why: ending?.why ?? '' },
    ...(head === undefined ? {} : { response: head.toString('latin1') }),
  });
}
