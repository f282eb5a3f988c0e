/** Sending: frames are written into the output arena and queued. The flush at the end of the turn writes them to the sockets. */

import { recordSent } from '../diagnostics/recorder.ts';
import type { ByteRange } from '../protocol/buffers.ts';
import { Opcode } from '../protocol/codes.ts';
import { FIN, frameHeaderSize, RSV1 } from '../protocol/websocket/frame.ts';
import type { Chunk } from './arena.ts';
import { admitToFanout, flushFanout } from './fanout.ts';
import { appendOutput, canSend, compress, writeBytes, writeFrame } from './output.ts';
import type { Connection } from './records.ts';

/** Sends one message, in a frame if the wire has frames. The bytes are copied; those of a text must be UTF-8. */
export function sendMessage(
  connection: Connection,
  isText: boolean,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  if (!canSend(connection)) return;
  const endpoint = connection.endpoint;
  connection.messagesOut++;
  if (endpoint === undefined) {
    queueBytes(connection, bytes, start, end);
    return;
  }
  const first = FIN | (isText ? Opcode.Text : Opcode.Binary);
  const { deflater } = endpoint;
  const deflated = deflater === undefined ? undefined : compress(deflater, bytes, start, end);
  if (deflated === undefined) queueFrame(connection, first, bytes, start, end);
  else queueFrame(connection, first | RSV1, deflated, 0, deflated.length);
}

/** Like `sendMessage`, for unsolicited messages: a peer over `--max-buffered` is closed instead, as in a fan-out. */
export function sendPush(
  connection: Connection,
  isText: boolean,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  if (admitToFanout(connection)) sendMessage(connection, isText, bytes, start, end);
}

/** Sends a control frame. Its payload of at most 125 bytes is copied. */
export function sendControl(connection: Connection, opcode: number, { bytes, start, end }: ByteRange): void {
  queueFrame(connection, FIN | opcode, bytes, start, end);
}

/** Sends bytes without a frame: an HTTP response, for example. They are copied. */
export function sendBytes(connection: Connection, bytes: Uint8Array): void {
  queueBytes(connection, bytes, 0, bytes.length);
}

function queueBytes(connection: Connection, bytes: Uint8Array, start: number, end: number): void {
  const range = writeBytes(connection.server.arena, bytes, start, end);
  queueRange(connection, range.chunk, range.start, range.end);
}

function queueFrame(
  connection: Connection,
  first: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  const chunk = writeFrame(connection.server.arena, first, bytes, start, end);
  const size = frameHeaderSize(end - start) + end - start;
  queueRange(connection, chunk, chunk.used - size, chunk.used);
}

/** Queues `[start, end)` of the chunk. */
export function queueRange(connection: Connection, chunk: Chunk, start: number, end: number): void {
  const { server } = connection;
  if (server.pendingFanout !== undefined) flushFanout(server);
  recordSent(connection, chunk.bytes, start, end);
  appendOutput(connection, chunk, start, end);
}
