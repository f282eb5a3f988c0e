/** Feeds bytes to an endpoint in pieces, as a connection does, and records the events. */
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { CloseCode, type Role } from '../../src/protocol/codes.ts';
import { newDeflateContext } from '../../src/protocol/websocket/deflate.ts';
import {
  closePayload,
  control,
  type Endpoint,
  endEndpoint,
  failEndpoint,
  message,
  newEndpoint,
  nextEvent,
  ProtocolEvent,
  releaseMessage,
  startClosing,
} from '../../src/protocol/websocket/endpoint.ts';
import { ioArena } from '../../src/protocol/websocket/mask.ts';
import type { Message } from '../../src/protocol/websocket/message.ts';

export interface EndpointSetup {
  readonly role: Role;
  /** In bytes; Infinity for no limit. */
  readonly maxMessage: number;
  readonly compression: 'off' | 'on' | 'takeover';
  /** The owner answers the first message with a close frame. */
  readonly closesOnMessage: boolean;
}

export const plainServer: EndpointSetup = {
  role: 'server',
  maxMessage: 1024 * 1024,
  compression: 'off',
  closesOnMessage: false,
};

export function setUpEndpoint({ role, maxMessage, compression }: EndpointSetup): Endpoint {
  if (compression === 'off') return newEndpoint(role, maxMessage);
  const keeps = compression === 'takeover';
  return newEndpoint(role, maxMessage, newDeflateContext(keeps, 15), newDeflateContext(keeps, 15));
}

/** The recorded events, one line each, such as `text "Hello"`, `sends pong 00ff`, `closed 1000 "bye"`. */
export interface EventRecord {
  readonly lines: string[];
  readonly endpoint: Endpoint;
  /** Whether the owner continues after a message. */
  goesOn: boolean;
  /** Called for each message after it was recorded. */
  onMessage: (message: Message) => void;
  /** Asked before each slice of a large message except the first. */
  mayInflate: () => boolean;
}

export function newRecord(endpoint: Endpoint): EventRecord {
  return { lines: [], endpoint, goesOn: true, onMessage() {}, mayInflate: () => true };
}

/**
 * Acts as the owner of an endpoint: reads `bytes[start, end)` and handles each event.
 * @returns where it stopped
 */
export function readEvents(record: EventRecord, bytes: Uint8Array, start = 0, end = bytes.length): number {
  const { endpoint, lines } = record;
  const input = { bytes, start, end };
  let isMessageDue = endpoint.inflating === undefined || !endpoint.acceptsMessages || record.mayInflate();
  for (;;) {
    switch (nextEvent(endpoint, input, !isMessageDue)) {
      case ProtocolEvent.NeedMore:
      case ProtocolEvent.Paused:
        return input.start;
      case ProtocolEvent.Frame:
        break;
      case ProtocolEvent.Inflating:
        isMessageDue = record.mayInflate();
        break;
      case ProtocolEvent.Message:
        writeMessage(record);
        record.onMessage(message);
        releaseMessage();
        if (!record.goesOn) return input.start;
        break;
      case ProtocolEvent.Ping:
        if (control.isReplyDue) lines.push(`sends pong ${showBytes(controlPayload())}`);
        break;
      case ProtocolEvent.Pong:
        lines.push(`pong ${showBytes(controlPayload())}`);
        break;
      case ProtocolEvent.Close:
        if (control.isReplyDue) lines.push(`sends close ${showClose(controlPayload())}`);
        endEndpoint(endpoint);
        lines.push(`closed ${control.code} ${JSON.stringify(control.reason)}`);
        break;
      case ProtocolEvent.Failed:
        if (control.isReplyDue) lines.push(`sends close ${showClose(controlPayload())}`);
        failEndpoint(endpoint);
        lines.push(`closed ${control.code} ${JSON.stringify(control.reason)}`);
        break;
    }
  }
}

function writeMessage({ endpoint, lines }: EventRecord): void {
  const { isText, bytes, start, end } = message;
  assert.ok(endpoint.state === 'OPEN' || endpoint.deliversWhileClosing, 'a message only while OPEN');
  assert.ok(end - start <= endpoint.maxMessage, 'a message within its bound');
  const payload = bytes.subarray(start, end);
  if (isText) assert.ok(isUtf8(payload), 'a text that is UTF-8');
  lines.push(`${isText ? 'text' : 'binary'} ${showBytes(payload)}`);
}

function controlPayload(): Uint8Array {
  const { bytes, start, end } = control;
  assert.ok(end - start <= 125, 'a control frame carries at most 125 bytes');
  return bytes.subarray(start, end);
}

/** The owner closes. Records nothing if a close frame was sent or received before. */
export function close({ endpoint, lines }: EventRecord, code: number, reason = ''): void {
  if (endpoint.state !== 'OPEN') return;
  lines.push(`sends close ${showClose(closePayload(code, reason))}`);
  startClosing(endpoint);
}

/** The owner fails the connection. */
export function fail(record: EventRecord, code: number, reason = ''): void {
  const { endpoint, lines } = record;
  if (endpoint.state === 'CLOSED') return;
  close(record, code, reason);
  failEndpoint(endpoint);
  lines.push(`closed ${code} ${JSON.stringify(reason)}`);
}

export function showClose(payload: Uint8Array): string {
  if (payload.length < 2) return `${CloseCode.NoStatusReceived} ""`;
  const code = (payload[0]! << 8) | payload[1]!;
  return `${code} ${JSON.stringify(Buffer.from(payload.subarray(2)).toString())}`;
}

/** Text as a JSON string, other bytes in hex, long ones by their hash. */
export function showBytes(bytes: Uint8Array): string {
  if (bytes.length > 200) {
    return `${bytes.length} bytes ${createHash('sha1').update(bytes).digest('hex')}`;
  }
  return isUtf8(bytes) ? JSON.stringify(Buffer.from(bytes).toString()) : Buffer.from(bytes).toString('hex');
}

/** Where the bytes are: in the memory of WebAssembly, or elsewhere. */
export type Place = 'turn memory' | 'elsewhere';
export const places: readonly Place[] = ['turn memory', 'elsewhere'];

const guard = Buffer.alloc(32, 0xa5);
const turnOffset = 128 * 1024;

/** RFC 6455 §5.2, §5.5: a client's control frame has at most 131 bytes, so an incomplete one has at most 130. */
const longestRest = 130;

/**
 * Receives `bytes` in pieces that end at `cuts` (ascending). @returns the events
 * @param stops whether the owner stops after every message and continues in another call
 */
export function eventsOf(
  setup: EndpointSetup,
  bytes: Buffer,
  cuts: readonly number[],
  place: Place,
  stops = false,
): string[] {
  const endpoint = setUpEndpoint(setup);
  const record = newRecord(endpoint);
  record.goesOn = !stops;
  if (setup.closesOnMessage) record.onMessage = () => close(record, 1001, 'going');
  let rest: Buffer = Buffer.alloc(0);
  let from = 0;
  for (const [index, to] of [...cuts, bytes.length].entries()) {
    const given = rest.length + to - from;
    // Each piece has another alignment, and the bytes around it must not change.
    const offset = (place === 'turn memory' ? turnOffset : 0) + guard.length + (index % 17);
    const memory = place === 'turn memory' ? ioArena : Buffer.alloc(offset + given + guard.length);
    const end = offset + given;
    guard.copy(memory, offset - guard.length);
    guard.copy(memory, end);
    rest.copy(memory, offset);
    bytes.copy(memory, offset + rest.length, from, to);
    let at = offset;
    for (let isDone = false; !isDone; ) {
      const messages = record.lines.length;
      const stopped = readEvents(record, memory, at, end);
      assert.ok(stopped >= at && stopped <= end, 'the reader stops within what it was given');
      isDone = stopped === end || record.goesOn || record.lines.length === messages;
      at = stopped;
    }
    assert.ok(end - at <= longestRest, `at most ${longestRest} bytes are given again, not ${end - at}`);
    assert.ok(memory.subarray(offset - guard.length, offset).equals(guard), 'no byte before is touched');
    assert.ok(memory.subarray(end, end + guard.length).equals(guard), 'no byte behind is touched');
    rest = Buffer.from(memory.subarray(at, end));
    from = to;
  }
  checkOrder(record.lines);
  return record.lines;
}

/** Asserts what must hold for any input. */
function checkOrder(lines: readonly string[]): void {
  const closed = lines.findIndex(line => line.startsWith('closed'));
  assert.ok(closed === -1 || closed === lines.length - 1, 'nothing comes after closed');
  const sentClose = lines.filter(line => line.startsWith('sends close'));
  assert.ok(sentClose.length <= 1, 'one close frame is sent at most');
  const said = lines.findIndex(line => line.startsWith('sends close'));
  const later = said === -1 ? [] : lines.slice(said + 1);
  assert.ok(!later.some(line => line.startsWith('sends')), 'nothing is sent after the close frame');
}

/** Cuts at every byte. */
export function everyByte(bytes: Uint8Array): number[] {
  return Array.from({ length: Math.max(0, bytes.length - 1) }, (_, index) => index + 1);
}
