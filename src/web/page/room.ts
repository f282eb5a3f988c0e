/** The lines of a room, and our own lines that the server has not confirmed yet. */
import { findOverlap } from './overlap.ts';
import { loadItem, saveItem } from './store.ts';

export interface Line {
  /** The author's; for a waiting line, the nick under which it was last sent. */
  nick: string;
  /** Once confirmed, the server's version of it. */
  text: string;
  readonly isOwn: boolean;
  state: 'earlier' | 'missed' | 'live' | 'waiting' | 'refused';
  /** `Date.now()` of the message; for a waiting line, of when it was written. */
  time: number;
  /** Whether the server's history has it. */
  readonly isInHistory: boolean;
  /** The uid of the packet that is sending it; `undefined` if none is. */
  uid: number | undefined;
  tries: number;
  /** Why the server refused it. */
  reason: string;
}

/** A line as LOGGED_MSG has it. */
export interface HistoryLine {
  /** `nick: text` */
  readonly entry: string;
  /** As `Date.now()`; `undefined` for a message that is in no history. */
  readonly time: number | undefined;
}

/** The nick of the server, which no user can have. */
export const serverNick = 'server';

export interface Room {
  readonly name: string;
  readonly nick: string;
  /** The newest `maxLines` lines, in order. */
  readonly lines: Line[];
  /** Waiting and refused lines, in the order they were written. They are not in `lines`. */
  readonly unconfirmed: Line[];
  hasBeenEntered: boolean;
}

const maxLines = 1000;
/** A line that fails this often is probably the reason why the connection breaks. */
const maxTries = 3;
/** Confirmed lines saved for a reload: enough to find our place in the history. */
const savedTail = 20;

interface SavedRoom {
  readonly tail: readonly string[];
  readonly unconfirmed: readonly { nick: string; text: string; time: number; tries: number }[];
}

/** Restores the room from before a reload, if this tab was in it. */
export function newRoom(name: string, nick: string): Room {
  const room: Room = { name, nick, lines: [], unconfirmed: [], hasBeenEntered: false };
  const kept = loadItem<SavedRoom>(`room ${name}`);
  if (kept === undefined) return room;
  room.lines.push(...kept.tail.map(entry => earlierLine(room, { entry, time: undefined })));
  for (const line of kept.unconfirmed)
    room.unconfirmed.push({ ...waitingLine(line.nick, line.text), ...line });
  return room;
}

/** Saves the room for a reload. Only needed when `unconfirmed` changes: the rest comes with the history. */
export function saveRoom(room: Room): void {
  const unconfirmed = room.unconfirmed.map(({ nick, text, time, tries }) => ({
    nick,
    text,
    time,
    tries,
  }));
  const tail = historyLines(room).slice(-savedTail).map(entryOf);
  saveItem(`room ${room.name}`, { tail, unconfirmed } satisfies SavedRoom);
}

/** Adds a line of ours, which waits until the server confirms it. */
export function writeLine(room: Room, text: string): Line {
  const line = waitingLine(room.nick, text);
  room.unconfirmed.push(line);
  return line;
}

/**
 * Merges the history into the room without duplicates or gaps, and confirms our own lines that are in it. After a reload the saved
 * lines only mark our place: the history replaces them.
 * @returns the new lines
 */
export function mergeHistory(room: Room, history: readonly HistoryLine[]): Line[] {
  const { before, from } = findOverlap(
    historyLines(room).map(entryOf),
    history.map(({ entry }) => entry),
  );
  if (!room.hasBeenEntered) room.lines.length = 0;
  const known = history.slice(0, room.hasBeenEntered ? before : from);
  room.lines.unshift(...known.map(said => earlierLine(room, said)));
  const added = history.slice(from).map(said => {
    const own = room.unconfirmed.findIndex(line => line.tries > 0 && entryOf(line) === said.entry);
    return own === -1 ? earlierLine(room, said) : Object.assign(confirm(room, own), { time: said.time });
  });
  if (room.hasBeenEntered) {
    for (const line of added) if (line.state === 'earlier') line.state = 'missed';
  }
  room.hasBeenEntered = true;
  append(room, ...added);
  return added;
}

/** Adds a new line. @returns the line; if it confirms one of ours, that one */
export function addLine(room: Room, nick: string, text: string): Line {
  const index = nick === room.nick ? room.unconfirmed.findIndex(line => line.uid !== undefined) : -1;
  const line = index === -1 ? saidLine(room, nick, text, 'live') : confirm(room, index);
  line.text = text;
  line.time = Date.now();
  append(room, line);
  return line;
}

/** Adds a message of the server. @returns the line */
export function addServerLine(room: Room, said: HistoryLine): Line {
  const line = { ...earlierLine(room, said), state: 'live' as const, isInHistory: said.time !== undefined };
  append(room, line);
  return line;
}

/** The server refused the packet with this uid. */
export function rejectLine(room: Room, uid: number, reason: string): void {
  const line = room.unconfirmed.find(one => one.uid === uid);
  if (line === undefined) return;
  line.state = 'refused';
  line.reason = reason;
  line.uid = undefined;
}

/** The connection is lost: no line is being sent. */
export function markUnsent(room: Room): void {
  for (const line of room.unconfirmed) line.uid = undefined;
}

/** The lines to send now. A line that has failed too often becomes refused. */
export function linesToSend(room: Room): Line[] {
  const waiting = room.unconfirmed.filter(line => line.state === 'waiting' && line.uid === undefined);
  for (const line of waiting) {
    if (line.tries < maxTries) continue;
    line.state = 'refused';
    line.reason = 'the connection broke each time it was sent';
  }
  return waiting.filter(line => line.state === 'waiting');
}

function confirm(room: Room, index: number): Line {
  const line = room.unconfirmed.splice(index, 1)[0]!;
  line.state = 'live';
  return line;
}

function append(room: Room, ...lines: Line[]): void {
  room.lines.push(...lines);
  room.lines.splice(0, room.lines.length - maxLines);
}

function waitingLine(nick: string, text: string): Line {
  return {
    nick,
    text,
    isOwn: true,
    state: 'waiting',
    time: Date.now(),
    isInHistory: true,
    uid: undefined,
    tries: 0,
    reason: '',
  };
}

function saidLine(
  room: Room,
  nick: string,
  text: string,
  state: 'earlier' | 'live',
  time = Date.now(),
): Line {
  const isOwn = nick === room.nick;
  return { nick, text, isOwn, state, time, isInHistory: true, uid: undefined, tries: 0, reason: '' };
}

function earlierLine(room: Room, { entry, time }: HistoryLine): Line {
  const nickEnd = entry.indexOf(': ');
  return saidLine(room, entry.slice(0, nickEnd), entry.slice(nickEnd + 2), 'earlier', time);
}

function historyLines(room: Room): Line[] {
  return room.lines.filter(line => line.isInHistory);
}

/** The line in the form of the history. */
function entryOf(line: Line): string {
  return `${line.nick}: ${line.text}`;
}
