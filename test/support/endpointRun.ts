/** Gives bytes to an endpoint as a connection would, in pieces, and writes down what comes of them. */
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { CloseCode, Opcode } from '../../src/protocol/codes.ts';
import { newDeflateState } from '../../src/protocol/websocket/deflate.ts';
import {
  type Endpoint,
  type EndpointEvents,
  newEndpoint,
  receive,
  startClosing,
} from '../../src/protocol/websocket/endpoint.ts';
import type { Role } from '../../src/protocol/websocket/frame.ts';
import { ioArena } from '../../src/protocol/websocket/mask.ts';

export interface EndpointSetup {
  readonly role: Role;
  /** Bytes; Infinity for no bound. */
  readonly maxMessage: number;
  readonly compression: 'off' | 'on' | 'takeover';
  /** The first message is answered with a close frame. */
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
  return newEndpoint(role, maxMessage, newDeflateState(keeps, 15), newDeflateState(keeps, 15));
}

/** What is written down: one line an event, such as `text "Hello"`, `sends pong 00ff`, `closed 1000 "bye"`. */
export interface EventRecord {
  readonly lines: string[];
  readonly endpoint: Endpoint;
  /** What `message` answers: whether to go on. */
  goesOn: boolean;
  closesOnMessage: boolean;
}

export function newRecord(endpoint: Endpoint): EventRecord {
  return { lines: [], endpoint, goesOn: true, closesOnMessage: false };
}

const kinds: Readonly<Record<number, string>> = {
  [Opcode.Close]: 'close',
  [Opcode.Ping]: 'ping',
  [Opcode.Pong]: 'pong',
};

export const recorder: EndpointEvents<EventRecord> = {
  message(record, { isText, bytes, start, end }) {
    assert.equal(record.endpoint.state, 'OPEN', 'a message only while OPEN');
    assert.ok(end - start <= record.endpoint.maxMessage, 'a message within its bound');
    const payload = bytes.subarray(start, end);
    if (isText) assert.ok(isUtf8(payload), 'a text that is UTF-8');
    record.lines.push(`${isText ? 'text' : 'binary'} ${showBytes(payload)}`);
    if (record.closesOnMessage) startClosing(record.endpoint, recorder, record, 1001, 'going');
    return record.goesOn;
  },
  pong(record, bytes, start, end) {
    record.lines.push(`pong ${showBytes(bytes.subarray(start, end))}`);
  },
  sendControl(record, opcode, bytes, start, end) {
    assert.ok(end - start <= 125, 'a control frame carries at most 125 bytes');
    const payload = bytes.subarray(start, end);
    const shown = opcode === Opcode.Close ? showClose(payload) : showBytes(payload);
    record.lines.push(`sends ${kinds[opcode]} ${shown}`);
  },
  closed(record, code, reason) {
    record.lines.push(`closed ${code} ${JSON.stringify(reason)}`);
  },
};

export function showClose(payload: Uint8Array): string {
  if (payload.length < 2) return `${CloseCode.NoStatusReceived} ""`;
  const code = (payload[0]! << 8) | payload[1]!;
  return `${code} ${JSON.stringify(Buffer.from(payload.subarray(2)).toString())}`;
}

/** Text as a JSON string, other bytes in hex; the long by their hash. */
export function showBytes(bytes: Uint8Array): string {
  if (bytes.length > 200) {
    return `${bytes.length} bytes ${createHash('sha1').update(bytes).digest('hex')}`;
  }
  return isUtf8(bytes) ? JSON.stringify(Buffer.from(bytes).toString()) : Buffer.from(bytes).toString('hex');
}

/** Where the bytes lie: in the memory that WebAssembly reaches, or anywhere else. */
export type Place = 'turn memory' | 'elsewhere';
export const places: readonly Place[] = ['turn memory', 'elsewhere'];

const guard = Buffer.alloc(32, 0xa5);
const turnOffset = 128 * 1024;

/** RFC 6455 §5.2, §5.5: a control frame is at most 131 bytes from a server's view, so one that is not whole at most 130. */
const longestRest = 130;

/**
 * The events of `bytes`, received in the pieces that end at `cuts` (ascending) and at their end.
 * @param stops whether the owner stops after every message, and goes on in a call of its own
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
  record.closesOnMessage = setup.closesOnMessage;
  let rest: Buffer = Buffer.alloc(0);
  let from = 0;
  for (const [index, to] of [...cuts, bytes.length].entries()) {
    const given = rest.length + to - from;
    // Other alignments each time; and what stands around the bytes is not theirs to change.
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
      const stopped = receive(endpoint, recorder, record, memory, at, end);
      assert.ok(stopped >= at && stopped <= end, 'receive stops within what it was given');
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

/** Rules that hold for whatever came in. */
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
