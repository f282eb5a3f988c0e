/** One session of a replay: keeps the server's messages until they are compared, and answers pings. */
import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import { CloseCode, Opcode } from '../../protocol/codes.ts';
import { maxReplayBacklog, maxReplayBacklogBytes } from '../../protocol/recordingLimits.ts';
import { newContextOf } from '../../protocol/websocket/deflate.ts';
import {
  closePayload,
  control,
  type Endpoint,
  endEndpoint,
  message,
  newEndpoint,
  nextEvent,
  ProtocolEvent,
  releaseMessage,
  startClosing,
} from '../../protocol/websocket/endpoint.ts';
import { FIN } from '../../protocol/websocket/frame.ts';
import { messageBytes } from '../../protocol/websocket/message.ts';
import type { Arrived } from '../../recordings/replay.ts';
import type { OpenConnection } from '../dial.ts';
import { maskedFrame } from '../frames.ts';

export interface ReplayPeer {
  readonly socket: Socket;
  readonly endpoint: Endpoint;
  /** Arrivals that are not compared yet, and the bytes of their messages. */
  readonly arrived: Arrived[];
  arrivedBytes: number;
  /** The beginning of an incomplete frame. */
  rest: Buffer;
  /** The payload of the last pong. */
  pong: string;
  /** We have sent bytes that are not whole frames, so the server would misread any further frame. */
  isUnframed: boolean;
  /** We ended the connection. */
  hasLeft: boolean;
  /** The socket is closed. */
  isGone: boolean;
  readonly onChange: () => void;
}

/** @param onChange called when something has arrived, or the connection has ended */
export function openReplayPeer(
  { socket, agreement: { deflate }, rest }: OpenConnection,
  maxMessage: number,
  onChange: () => void,
): ReplayPeer {
  const inflater = newContextOf(deflate, 'server');
  const peer: ReplayPeer = {
    socket,
    endpoint: { ...newEndpoint('client', maxMessage, inflater), deliversWhileClosing: true },
    ...{ arrived: [], arrivedBytes: 0, rest: Buffer.alloc(0), pong: '' },
    ...{ isUnframed: false, hasLeft: false, isGone: false, onChange },
  };
  socket.on('data', (chunk: Buffer) => {
    receive(peer, chunk);
    onChange();
  });
  // The server ends the TCP connection first (RFC 6455 §7.1.1), so the client follows.
  socket.on('end', () => socket.end());
  socket.on('close', () => {
    peer.isGone = true;
    if (peer.endpoint.state !== 'CLOSED') {
      endEndpoint(peer.endpoint);
      addArrived(peer, { kind: 'end' }, 0);
    }
    onChange();
  });
  if (rest.length > 0) socket.unshift(rest);
  socket.resume();
  return peer;
}

function addArrived(peer: ReplayPeer, arrived: Arrived, size: number): void {
  peer.arrived.push(arrived);
  peer.arrivedBytes += size;
  if (isBacklogged(peer)) peer.socket.pause();
}

function isBacklogged({ arrived, arrivedBytes }: ReplayPeer): boolean {
  return arrived.length > maxReplayBacklog || arrivedBytes > maxReplayBacklogBytes;
}

/** Removes and returns the oldest arrival. */
export function takeArrived(peer: ReplayPeer): Arrived | undefined {
  const arrived = peer.arrived.shift();
  if (arrived?.kind === 'message') peer.arrivedBytes -= arrived.content.bytes.length;
  if (peer.socket.isPaused() && !isBacklogged(peer)) peer.socket.resume();
  return arrived;
}

function receive(peer: ReplayPeer, chunk: Buffer): void {
  const bytes = peer.rest.length === 0 ? chunk : Buffer.concat([peer.rest, chunk]);
  const input = { bytes, start: 0, end: bytes.length };
  let goesOn = true;
  while (goesOn && peer.endpoint.state !== 'CLOSED') {
    const event = nextEvent(peer.endpoint, input);
    goesOn = event !== ProtocolEvent.NeedMore && event !== ProtocolEvent.Paused;
    if (event === ProtocolEvent.Message) {
      const content = { isText: message.isText, bytes: messageBytes(message) };
      addArrived(peer, { kind: 'message', content }, content.bytes.length);
      releaseMessage();
    } else if (event >= ProtocolEvent.Ping) receiveControl(peer, event);
  }
  peer.rest = Buffer.from(bytes.subarray(input.start));
}

function receiveControl(peer: ReplayPeer, event: ProtocolEvent): void {
  const { endpoint, socket } = peer;
  const { bytes, start, end, isReplyDue, code, reason } = control;
  if (event === ProtocolEvent.Pong) {
    peer.pong = Buffer.from(bytes.subarray(start, end)).toString('latin1');
    return;
  }
  // RFC 6455 §5.5.1, §5.5.2: pings and close frames are answered, even if the recorded client did not.
  const opcode = event === ProtocolEvent.Ping ? Opcode.Pong : Opcode.Close;
  if (isReplyDue) socket.write(maskedFrame(FIN | opcode, bytes, start, end));
  if (event === ProtocolEvent.Ping) return;
  endEndpoint(endpoint);
  if (event === ProtocolEvent.Close)
    addArrived(peer, { kind: 'close', payload: closePayload(code, reason) }, 0);
  else addArrived(peer, { kind: 'failure', reason }, 0);
  socket.end();
}

/** Sends bytes unchanged, if the socket is writable. @param isWhole whether they are whole frames */
export function sendRaw(peer: ReplayPeer, bytes: Uint8Array, isWhole = true): void {
  if (!isWhole) peer.isUnframed = true;
  if (peer.socket.writable) peer.socket.write(bytes);
}

export function sendWhole(peer: ReplayPeer, opcode: number, payload: Buffer): void {
  sendRaw(peer, maskedFrame(FIN | opcode, payload, 0, payload.length));
}

/** Sends a close frame. @param bytes the frame as it was recorded */
export function sendReplayClose(peer: ReplayPeer, payload: Buffer, bytes: Buffer | undefined): void {
  if (peer.endpoint.state !== 'OPEN') return;
  if (bytes === undefined) sendWhole(peer, Opcode.Close, payload);
  else sendRaw(peer, bytes);
  startClosing(peer.endpoint);
}

/** Ends the connection without a close frame. Later arrivals are not compared. */
export function leaveReplayPeer(peer: ReplayPeer): void {
  peer.hasLeft = true;
  endEndpoint(peer.endpoint);
  peer.socket.end();
}

/** The replay is over: closes the session if it is still open. */
export function closeReplayPeer(peer: ReplayPeer): void {
  sendReplayClose(peer, closePayload(CloseCode.NormalClosure, ''), undefined);
  peer.socket.end();
}
