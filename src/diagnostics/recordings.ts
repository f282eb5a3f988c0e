/**
 * Recordings of connections (`--record`, the command `record`): a tap decodes the bytes in both directions, and each session becomes
 * a file. recordings/recording.ts has the format.
 *
 * A client's frame has the time at which the server read it, so a replay of several sessions keeps the server's order.
 */
import { log } from '../log/log.ts';
import type { Configuration } from '../options/configuration.ts';
import { UsageError } from '../options/error.ts';
import { size } from '../options/values.ts';
import type { ByteRange } from '../protocol/buffers.ts';
import { maxRecorderMemory } from '../protocol/recordingLimits.ts';
import {
  beginFrames,
  type DecodedEvent,
  decode,
  decoderMemory,
  newSessionDecoder,
  type SessionDecoder,
  setWindow,
  skipRest,
  stopDecoder,
} from '../recordings/decoder.ts';
import {
  eventMemory,
  recordingExtension,
  type Side,
  showEvent,
  showHeader,
} from '../recordings/recording.ts';
import { addEvent, clearRedactor, newRedactor, type Redactor } from '../recordings/redactor.ts';
import {
  type AppendedFiles,
  appendTo,
  fitsInFolder,
  openAppendedFiles,
  untilWritten,
} from '../storage/appendedFiles.ts';
import type { Ending } from './closeReason.ts';
import { addTap, removeTap, type Tap, type Tapped, type Taps } from './tap.ts';
import type { Trace } from './trace.ts';

/** A recorded session. */
interface RecordedSession {
  readonly connection: Recordable;
  readonly name: string;
  readonly header: string;
  /** The start of the recording's time, on the clock of `performance.now()`. */
  readonly since: number;
  readonly decoder: SessionDecoder;
  readonly redactor: Redactor;
  /** Decoded events of the client that the server has not read yet. */
  readonly unread: DecodedEvent[];
  /** Bytes of memory that these events take. */
  unreadSize: number;
  /** The number of frames that the server began to read before they were complete. */
  early: number;
  /** The first line has been written. */
  isBegun: boolean;
  /** The recording ended before its connection. */
  isCut: boolean;
  /** A ClientHello arrived: the bytes are encrypted until `security` is set. */
  isTls: boolean;
  /** Bytes of memory. */
  held: number;
}

/** A server's recordings. */
export interface Recordings {
  readonly files: AppendedFiles;
  readonly ready: Recorded['ready'];
  readonly taps: Taps;
  readonly tap: Tap;
  readonly hasCredentials: boolean;
  isEveryone: boolean;
  /** Sessions by the connection's id. */
  readonly sessions: Map<number, RecordedSession>;
  /** Bytes of memory of all sessions. */
  held: number;
  /** Reasons for cuts: each is logged once, and again after writing has failed for a while. */
  readonly complaints: Set<string>;
}

/** The part of a connection that recordings read. */
export interface Recordable extends Tapped {
  readonly server: Tapped['server'] & { readonly counters: { readonly turns: number } };
  readonly socket: { readonly altersOutput?: true };
  readonly security: object | undefined;
  readonly ending: Ending | undefined;
  readonly input: Buffer | undefined;
  readonly inputStart: number;
  readonly inputEnd: number;
  readonly endpoint:
    | {
        readonly incoming: { readonly missing: number } | undefined;
        readonly inflater: Deflating | undefined;
        readonly deflater: Deflating | undefined;
      }
    | undefined;
}

interface Deflating {
  readonly window: Buffer;
  readonly keepsContext: boolean;
  readonly windowBits: number;
}

/** How a server is observed. */
export interface Observation {
  readonly taps: Taps;
  readonly trace: Trace;
  /** Undefined until the first recording. */
  recordings: Recordings | undefined;
}

/** The part of the server that recordings need. */
interface Recorded extends Pick<Observation, 'taps' | 'recordings'> {
  readonly ready: { isSerial: boolean };
  readonly configuration: Configuration;
}

/** With `--record`, all sessions are recorded from the start. @throws UsageError */
export function startRecording(server: Recorded): void {
  const { record } = server.configuration;
  if (record === '') return;
  try {
    recordEveryone(openRecordings(server, record), []);
  } catch (error) {
    throw new UsageError(`--record ${record} cannot be used: ${(error as Error).message}`);
  }
}

/** Opens the server's recordings once. @param folder used without `--record`; empty: none @throws Error, a sentence */
export function openRecordings(server: Recorded, folder: string): Recordings {
  const { record, recordMax, recordCredentials } = server.configuration;
  const chosen = record === '' ? folder : record;
  if (chosen === '') throw new Error('no folder for recordings; start the server with --record DIR');
  server.recordings ??= newRecordings(server, chosen, recordMax, recordCredentials);
  return server.recordings;
}

function newRecordings(
  { taps, ready }: Recorded,
  folder: string,
  maxSize: number,
  hasCredentials: boolean,
): Recordings {
  const files = openAppendedFiles(folder, recordingExtension, maxSize);
  const recordings: Recordings = {
    ...{
      files,
      ready,
      taps,
      hasCredentials,
      isEveryone: false,
      sessions: new Map(),
      held: 0,
      complaints: new Set(),
    },
    tap: {
      arrived: (connection, bytes, start, end) =>
        noteArrived(recordings, connection as Recordable, { bytes, start, end }),
      read: connection => noteRead(recordings, connection as Recordable),
      sent: (connection, bytes, start, end) => {
        // A faulty socket reports its altered bytes to `wrote`.
        if ((connection as Recordable).socket.altersOutput) return;
        noteSent(recordings, connection as Recordable, { bytes, start, end });
      },
      wrote: (connection, bytes, start, end) =>
        noteSent(recordings, connection as Recordable, { bytes, start, end }),
      ended: connection => endRecording(recordings, connection as Recordable),
    },
  };
  files.onFault = fault => noteFault(recordings, fault);
  return recordings;
}

/** Records the sessions of all open and future connections. */
export function recordEveryone(recordings: Recordings, open: readonly Recordable[]): void {
  if (recordings.isEveryone) return;
  stopRecording(recordings);
  recordings.isEveryone = true;
  recordings.ready.isSerial = true;
  addTap(recordings.taps, 'all', recordings.tap);
  for (const connection of open) if (!connection.isControl) beginSession(recordings, connection);
}

/** Records an open connection from now on. @returns the name of the recording */
export function recordConnection(recordings: Recordings, connection: Recordable): string {
  const { sessions, taps, tap, isEveryone } = recordings;
  const known = sessions.get(connection.id);
  if (known !== undefined && !known.isCut) return known.name;
  if (!isEveryone) addTap(taps, connection.id, tap);
  const session = beginSession(recordings, connection);
  // Creates the file even if no frame follows.
  writeHeader(recordings, session);
  return session.name;
}

/** Ends all recordings. The connections stay open. */
export function stopRecording(recordings: Recordings): void {
  const { sessions, taps, tap } = recordings;
  for (const [id, session] of sessions) {
    cut(recordings, session, 'recording was switched off');
    removeTap(taps, id, tap);
  }
  sessions.clear();
  recordings.isEveryone = false;
  recordings.ready.isSerial = false;
  removeTap(taps, 'all', tap);
}

/** Ends all recordings when the server ends. Resolves when everything is written. */
export async function closeRecordings({ recordings }: Pick<Recorded, 'recordings'>): Promise<void> {
  if (recordings === undefined) return;
  stopRecording(recordings);
  await untilWritten(recordings.files);
}

/** The session of a connection: the first byte begins it. @returns undefined if it was cut, or is encrypted */
function sessionOf(recordings: Recordings, connection: Recordable): RecordedSession | undefined {
  const known = recordings.sessions.get(connection.id);
  const session = known?.connection === connection ? known : beginSession(recordings, connection);
  if (session.isTls && connection.security !== undefined) session.isTls = false;
  return session.isCut || session.isTls ? undefined : session;
}

function beginSession(recordings: Recordings, connection: Recordable): RecordedSession {
  const { id, endpoint, input, inputStart, inputEnd } = connection;
  const wallClock = Math.floor(performance.timeOrigin + performance.now());
  const since = wallClock - performance.timeOrigin;
  const time = new Date(wallClock).toISOString();
  const session: RecordedSession = {
    connection,
    name: `${time.replace(/\D/g, '').replace(/^(\d{8})(\d{6})/, '$1-$2-')}-${id}`,
    ...{ since, unread: [], unreadSize: 0, early: 0, isBegun: false, isCut: false, isTls: false, held: 0 },
    redactor: newRedactor(recordings.hasCredentials, event => {
      writeHeader(recordings, session);
      write(recordings, session, showEvent(event));
    }),
    decoder: newSessionDecoder(event => noteDecoded(session, event)),
    header: showHeader({ time, side: 'server', id }),
  };
  recordings.sessions.set(id, session);
  if (endpoint !== undefined) beginMidway(session.decoder, endpoint);
  if (input !== undefined)
    noteArrived(recordings, connection, { bytes: input, start: inputStart, end: inputEnd });
  return session;
}

function writeHeader(recordings: Recordings, session: RecordedSession): void {
  if (session.isBegun) return;
  write(recordings, session, session.header);
  // In a full folder, a session has no file at all.
  session.isBegun = !session.isCut;
}

/** Starts to decode in the middle of a session, at the connection's unread input. */
export function beginMidway(decoder: SessionDecoder, endpoint: NonNullable<Recordable['endpoint']>): void {
  const { inflater, deflater, incoming } = endpoint;
  beginFrames(decoder, deflateOf(endpoint));
  if (inflater !== undefined) setWindow(decoder, 'client', inflater.window);
  if (deflater !== undefined) setWindow(decoder, 'server', deflater.window);
  skipRest(decoder, 'client', incoming?.missing ?? 0);
}

function deflateOf({ inflater, deflater }: NonNullable<Recordable['endpoint']>) {
  if (inflater === undefined || deflater === undefined) return undefined;
  return {
    serverNoContextTakeover: !deflater.keepsContext,
    clientNoContextTakeover: !inflater.keepsContext,
    serverMaxWindowBits: deflater.windowBits,
    clientMaxWindowBits: inflater.windowBits,
  };
}

/** The first byte of a TLS record with a ClientHello. */
const tlsHandshake = 0x16;

function noteArrived(recordings: Recordings, connection: Recordable, range: ByteRange): void {
  const session = sessionOf(recordings, connection);
  if (session === undefined) return;
  const isFirst = session.decoder.client.size === 0 && !session.isBegun;
  if (isFirst && connection.security === undefined && range.bytes[range.start] === tlsHandshake)
    session.isTls = true;
  else decodeBytes(recordings, session, 'client', range);
}

function noteSent(recordings: Recordings, connection: Recordable, range: ByteRange): void {
  const session = sessionOf(recordings, connection);
  if (session !== undefined) decodeBytes(recordings, session, 'server', range);
}

function decodeBytes(
  recordings: Recordings,
  session: RecordedSession,
  from: Side,
  { bytes, start, end }: ByteRange,
): void {
  try {
    decode(session.decoder, from, bytes, start, end, timeOf(session));
  } catch (error) {
    // A bug in the decoder must not end the connection.
    complain(recordings, session, `internal error: ${(error as Error).message}`);
  }
  updateHeld(recordings, session);
}

function timeOf({ since }: RecordedSession): number {
  return performance.now() - since;
}

function noteDecoded(session: RecordedSession, event: DecodedEvent): void {
  const { unread, redactor } = session;
  const waits = event.from === 'client' && event.kind !== 'request';
  if (!waits || (unread.length === 0 && (event.kind === 'bytes' || session.early > 0))) {
    if (waits && event.kind === 'frame') session.early--;
    // The server reads arrivals in its next turn.
    const turn = session.connection.server.counters.turns + (waits ? 1 : 0);
    addEvent(redactor, { ...event, turn });
  } else {
    unread.push(event);
    session.unreadSize += eventMemory(event);
  }
}

/** The server has read the header of the client's next frame. */
function noteRead(recordings: Recordings, connection: Recordable): void {
  const session = sessionOf(recordings, connection);
  if (session === undefined) return;
  const { unread } = session;
  if (unread.length === 0) {
    session.early++;
    return;
  }
  writeFirst(session);
  while (unread[0]?.kind === 'bytes') writeFirst(session);
  updateHeld(recordings, session);
}

function writeFirst(session: RecordedSession): void {
  const { turns: turn } = session.connection.server.counters;
  const event = session.unread.shift()!;
  session.unreadSize -= eventMemory(event);
  addEvent(session.redactor, { ...event, at: timeOf(session), turn });
}

/** The connection is about to be freed. */
function endRecording(recordings: Recordings, connection: Recordable): void {
  const { id, ending } = connection;
  const session = recordings.sessions.get(id);
  if (session === undefined) return;
  if (session.isBegun && !session.isCut) {
    while (session.unread.length > 0) writeFirst(session);
    const at = timeOf(session);
    const turn = connection.server.counters.turns;
    addEvent(session.redactor, { kind: 'end', at, turn, by: ending?.by ?? 'server', why: ending?.why ?? '' });
  }
  forget(recordings, session);
  recordings.sessions.delete(id);
}

function forget(recordings: Recordings, session: RecordedSession): void {
  session.isCut = true;
  session.unread.length = 0;
  session.unreadSize = 0;
  stopDecoder(session.decoder);
  clearRedactor(session.redactor);
  recordings.held -= session.held;
  session.held = 0;
}

function updateHeld(recordings: Recordings, session: RecordedSession): void {
  if (session.isCut) return;
  const { decoder, redactor, unreadSize } = session;
  const held = decoderMemory(decoder) + redactor.held + unreadSize;
  recordings.held += held - session.held;
  session.held = held;
  if (recordings.held + recordings.files.pendingSize > maxRecorderMemory)
    complain(recordings, session, `the recorder's memory is full: ${memoryUses}`);
}

const memoryUses = 'lines that wait for the disk, incomplete messages, and windows of compression';

function write(recordings: Recordings, session: RecordedSession, line: string): void {
  if (session.isCut) return;
  const { files } = recordings;
  const { maxSize } = files;
  if (fitsInFolder(files, Buffer.byteLength(line))) appendTo(files, session.name, line);
  else
    complain(
      recordings,
      session,
      `the folder is full: recordings are limited to ${size.show(maxSize)} (--record-max)`,
    );
}

/** Cuts the session, and logs each reason once. */
function complain(recordings: Recordings, session: RecordedSession, why: string): void {
  cut(recordings, session, why);
  warn(recordings, why);
}

/** A failed write has lost lines. A recording has no gaps, so those that have begun end. New ones try to write. */
function noteFault(recordings: Recordings, fault: string | undefined): void {
  if (fault === undefined) {
    recordings.complaints.clear();
    log('info', 'recordings written again', { folder: recordings.files.folder });
    return;
  }
  for (const session of recordings.sessions.values())
    if (session.isBegun && !session.isCut) forget(recordings, session);
  warn(recordings, fault);
}

function warn(recordings: Recordings, why: string): void {
  if (recordings.complaints.has(why)) return;
  recordings.complaints.add(why);
  log('warn', 'recording cut', { folder: recordings.files.folder, reason: why });
}

/** Ends the recording before its connection. */
function cut(recordings: Recordings, session: RecordedSession, why: string): void {
  if (session.isCut) return;
  const { isBegun, name } = session;
  forget(recordings, session);
  // This short line may exceed the limit.
  if (isBegun) appendTo(recordings.files, name, showEvent({ kind: 'cut', at: timeOf(session), why }));
}
