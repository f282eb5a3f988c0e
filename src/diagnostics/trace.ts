/** The trace: each frame of the connections one wants to see, as an event (`frame`), when it comes or is queued. */
import { log } from '../log/log.ts';
import { frameEnd, payloadStart } from '../protocol/websocket/frame.ts';
import { frameFields, type ShownFrame, showFrame } from './showFrame.ts';

/** What the trace needs of a connection. */
export interface Traced {
  readonly id: number;
  /** Commands come in by it. */
  readonly isControl: boolean;
}

/** Of a payload no more is shown. */
const headSize = 48;

/** Whether any connection is traced: all that the trace costs when it is off is asking this. */
export let isTracing = false;

let isEveryone = false;
const traced = new Set<number>();

/**
 * Begins to trace a connection, or all, those to come included; or ends all tracing. A connection is traced until it
 * ends: whoever has its id next is not.
 */
export function traceConnection(which: number | 'all' | 'off'): void {
  if (typeof which === 'number') traced.add(which);
  else traced.clear();
  isEveryone = which === 'all' || (isEveryone && which !== 'off');
  isTracing = isEveryone || traced.size > 0;
}

/** What is traced: all, or these ids. */
export function tracedConnections(): 'all' | readonly number[] {
  return isEveryone ? 'all' : [...traced];
}

/** Never one that commands come in by: whoever watches would see themselves being told. */
function isTraced({ id, isControl }: Traced): boolean {
  return !isControl && (isEveryone || traced.has(id));
}

/** The connection is gone. */
export function endTrace(id: number): void {
  if (!traced.delete(id)) return;
  isTracing = isEveryone || traced.size > 0;
}

/** @param key of the masked payload, of which `bytes[start, end)` are there */
export function traceReceived(
  connection: Traced,
  first: number | undefined,
  length: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  key: number,
): void {
  if (!isTraced(connection)) return;
  const head = Buffer.from(bytes.subarray(start, Math.min(end, start + headSize)));
  for (let i = 0; i < head.length; i++) head[i]! ^= key >>> (8 * (i & 3));
  traceFrame(connection, { way: '<', first, length, head });
}

/** `bytes[start, end)` are to be sent: frames of ours, or, where there are none, just bytes. */
export function traceSent(
  connection: Traced,
  isFramed: boolean,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  if (!isTraced(connection)) return;
  for (let at = start; at < end; ) {
    const next = isFramed ? frameEnd(bytes, at) : end;
    const payload = isFramed ? payloadStart(bytes, at) : at;
    const head = Buffer.from(bytes.subarray(payload, Math.min(next, payload + headSize)));
    traceFrame(connection, {
      way: '>',
      first: isFramed ? bytes[at]! : undefined,
      length: next - payload,
      head,
    });
    at = next;
  }
}

function traceFrame({ id }: Traced, frame: ShownFrame): void {
  log('info', 'frame', { id, ...frameFields(frame) }, `id=${id} ${showFrame(frame)}`);
}
