/**
 * Taps observe the bytes and frames of connections, for the trace, recordings and tests. Without taps, each read and each sent
 * frame costs one check, `taps.isOn`.
 */

/** The part of a connection that taps read. A tap may require more, such as a whole `Connection`. */
export interface Tapped {
  readonly id: number;
  /** It carries commands. Taps never observe it: the output of `watch` would cause more output. */
  readonly isControl: boolean;
  /** The state of a WebSocket; undefined on a wire without frames. */
  readonly endpoint: object | undefined;
  readonly server: { readonly taps: Taps };
}

/** The payload of a frame that was read. The part that has arrived is `[start, end)`, masked with `key`. */
export interface TappedPayload {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** The length of the whole payload. */
  readonly length: number;
  readonly key: number;
  /** The size of the frame's header, up to `start`; undefined on a wire without frames. */
  readonly size?: number;
}

/** A message, or the part of it that a tap needs. */
export interface TappedMessage {
  readonly isText: boolean;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** The reason for failing a WebSocket, and the frame's bytes if its header is invalid. */
export interface FrameRefusal {
  readonly code: number;
  readonly reason: string;
  /** The option whose limit was exceeded. */
  readonly option: string | undefined;
  /** Empty if the header is valid. */
  readonly bytes: Uint8Array;
}

/** The head of a request. */
export interface TappedRequest {
  readonly method: string;
  readonly target: string;
  readonly version: string;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
}

/** An observer. Bytes are valid only during the call. A tap must not change, send or close anything. */
export interface Tap {
  /** Bytes arrived: still masked, but decrypted. The server reads them in its next turn. */
  arrived?(connection: Tapped, bytes: Uint8Array, start: number, end: number): void;
  /** The server has read a frame. @param first its first byte: FIN, RSV and opcode; undefined on a wire without frames */
  read?(connection: Tapped, first: number | undefined, payload: TappedPayload): void;
  /** The server has assembled or inflated a message. Any other message is the payload of one frame. */
  assembled?(connection: Tapped, message: TappedMessage): void;
  /** The server refuses a frame, and fails the connection. */
  refused?(connection: Tapped, refusal: FrameRefusal): void;
  /** The head of an HTTP request was read. */
  requested?(connection: Tapped, head: TappedRequest): void;
  /** The server has compressed this message for the next frame in `sent`. */
  compressed?(connection: Tapped, message: TappedMessage): void;
  /** Output was queued: whole frames or, during the handshake and on other wires, bytes. */
  sent?(connection: Tapped, bytes: Uint8Array, start: number, end: number): void;
  /**
   * Output was written that was not queued as whole frames: a script's bytes or, on a socket that alters its output, the altered
   * bytes. @param isFaulty whether faults are active
   */
  wrote?(connection: Tapped, bytes: Uint8Array, start: number, end: number, isFaulty: boolean): void;
  /** A fault changes the output (handlers/faults/). @param fault as the user wrote it, such as `close=1011 after=3` */
  fault?(connection: Tapped, fault: string): void;
  /** The connection is about to be freed. */
  ended?(connection: Tapped): void;
}

/** The taps of a server. */
export interface Taps {
  /** Whether any tap exists. */
  isOn: boolean;
  /** These observe all connections, including future ones. */
  readonly all: Set<Tap>;
  /** These observe one connection. */
  readonly byId: Map<number, Set<Tap>>;
}

export function newTaps(): Taps {
  return { isOn: false, all: new Set(), byId: new Map() };
}

/** @param which the id of an open connection; its taps end with the connection, and do not pass to the next with this id */
export function addTap(taps: Taps, which: number | 'all', tap: Tap): void {
  if (which === 'all') taps.all.add(tap);
  else taps.byId.set(which, (taps.byId.get(which) ?? new Set()).add(tap));
  taps.isOn = true;
}

/** Undoes `addTap`. Has no effect on an unknown tap. */
export function removeTap(taps: Taps, which: number | 'all', tap: Tap): void {
  if (which === 'all') taps.all.delete(tap);
  else if (taps.byId.get(which)?.delete(tap) && taps.byId.get(which)?.size === 0) taps.byId.delete(which);
  taps.isOn = taps.all.size > 0 || taps.byId.size > 0;
}

// These loops run for every frame, so they allocate no list of taps.

export function tapArrived(connection: Tapped, bytes: Uint8Array, start: number, end: number): void {
  if (connection.isControl) return;
  const { all, byId } = connection.server.taps;
  for (const tap of all) tap.arrived?.(connection, bytes, start, end);
  const own = byId.get(connection.id);
  if (own !== undefined) for (const tap of own) tap.arrived?.(connection, bytes, start, end);
}

export function tapRead(connection: Tapped, first: number | undefined, payload: TappedPayload): void {
  if (connection.isControl) return;
  const { all, byId } = connection.server.taps;
  for (const tap of all) tap.read?.(connection, first, payload);
  const own = byId.get(connection.id);
  if (own !== undefined) for (const tap of own) tap.read?.(connection, first, payload);
}

export function tapSent(connection: Tapped, bytes: Uint8Array, start: number, end: number): void {
  if (connection.isControl) return;
  const { all, byId } = connection.server.taps;
  for (const tap of all) tap.sent?.(connection, bytes, start, end);
  const own = byId.get(connection.id);
  if (own !== undefined) for (const tap of own) tap.sent?.(connection, bytes, start, end);
}

/** The taps of one connection. */
function tapsOf({ id, isControl, server: { taps } }: Tapped): readonly Tap[] {
  return isControl ? [] : [...taps.all, ...(taps.byId.get(id) ?? [])];
}

export function tapWrote(
  connection: Tapped,
  bytes: Uint8Array,
  start: number,
  end: number,
  isFaulty = true,
): void {
  for (const tap of tapsOf(connection)) tap.wrote?.(connection, bytes, start, end, isFaulty);
}

export function tapAssembled(connection: Tapped, message: TappedMessage): void {
  for (const tap of tapsOf(connection)) tap.assembled?.(connection, message);
}

export function tapRefused(connection: Tapped, refusal: FrameRefusal): void {
  for (const tap of tapsOf(connection)) tap.refused?.(connection, refusal);
}

export function tapRequested(connection: Tapped, head: TappedRequest): void {
  for (const tap of tapsOf(connection)) tap.requested?.(connection, head);
}

export function tapCompressed(connection: Tapped, message: TappedMessage): void {
  for (const tap of tapsOf(connection)) tap.compressed?.(connection, message);
}

export function tapFault(connection: Tapped, fault: string): void {
  for (const tap of tapsOf(connection)) tap.fault?.(connection, fault);
}

/** The connection has ended: notifies its taps, and removes them. */
export function endTaps(connection: Tapped): void {
  const { id, server } = connection;
  const { taps } = server;
  for (const tap of tapsOf(connection)) tap.ended?.(connection);
  taps.byId.delete(id);
  taps.isOn = taps.all.size > 0 || taps.byId.size > 0;
}
