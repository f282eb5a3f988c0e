/** What was said in a room, and what we said that nobody has confirmed yet. */
import { findOverlap } from './overlap.ts';
import { remember, remembered } from './store.ts';

export interface Line {
  /** Under which it was said; of a waiting line, under which it was sent last. */
  nick: string;
  /** Once confirmed, as the server gave it back. */
  text: string;
  readonly isOwn: boolean;
  state: 'earlier' | 'missed' | 'live' | 'waiting' | 'refused';
  /** When it was said, as Date.now() counts; of a waiting line, when it was written. */
  time: number;
  /** Whether the server remembers it, and sends it again with the history. */
  readonly isKept: boolean;
  /** Of the packet in which it is under way. */
  uid: number | undefined;
  /** How often it was sent. */
  tries: number;
  /** Why it was refused. */
  reason: string;
}

/** What the server tells of what was said. */
export interface Logged {
  /** `nick: text` */
  readonly entry: string;
  /** As Date.now() counts; undefined for a message that is in no history. */
  readonly time: number | undefined;
}

/** The server speaks under this nick, and nobody else can have it. */
export const serverNick = 'server';

export interface Room {
  readonly name: string;
  readonly nick: string;
  /** In the order of the conversation; the newest `maxLines`. */
  readonly said: Line[];
  /** Waiting and refused ones, in the order they were written. They are no part of `said`. */
  readonly unconfirmed: Line[];
  hasBeenEntered: boolean;
}

const maxLines = 1000;
/** After so many tries in vain it is the line that ends the connection, not the weather. */
const maxTries = 3;
/** Lines kept for a reload beside the unconfirmed: enough to find the place in the history. */
const keptTail = 20;

interface KeptRoom {
  readonly tail: readonly string[];
  readonly unconfirmed: readonly { nick: string; text: string; time: number; tries: number }[];
}

/** As this tab left it, where it was here before. */
export function newRoom(name: string, nick: string): Room {
  const room: Room = { name, nick, said: [], unconfirmed: [], hasBeenEntered: false };
  const kept = remembered<KeptRoom>(`room ${name}`);
  if (kept === undefined) return room;
  room.said.push(...kept.tail.map(entry => earlierLine(room, { entry, time: undefined })));
  for (const line of kept.unconfirmed)
    room.unconfirmed.push({ ...waitingLine(line.nick, line.text), ...line });
  return room;
}

/** For a reload. What others say meanwhile comes with the history, so this is due only when `unconfirmed` changes. */
export function keep(room: Room): void {
  const unconfirmed = room.unconfirmed.map(({ nick, text, time, tries }) => ({
    nick,
    text,
    time,
    tries,
  }));
  const tail = keptOf(room).slice(-keptTail).map(logged);
  remember(`room ${room.name}`, { tail, unconfirmed } satisfies KeptRoom);
}

/** Writes a line. It waits until it is confirmed. */
export function write(room: Room, text: string): Line {
  const line = waitingLine(room.nick, text);
  room.unconfirmed.push(line);
  return line;
}

/**
 * Joins the history to what is shown: nothing twice, nothing left out. Own lines that are in it are confirmed by it.
 * After a reload only the place in the history is known, and the history is all there is to show.
 * @returns the lines that are new here
 */
export function join(room: Room, history: readonly Logged[]): Line[] {
  const { before, from } = findOverlap(
    keptOf(room).map(logged),
    history.map(({ entry }) => entry),
  );
  if (!room.hasBeenEntered) room.said.length = 0;
  const known = history.slice(0, room.hasBeenEntered ? before : from);
  room.said.unshift(...known.map(said => earlierLine(room, said)));
  const added = history.slice(from).map(said => {
    const own = room.unconfirmed.findIndex(line => line.tries > 0 && logged(line) === said.entry);
    return own === -1 ? earlierLine(room, said) : Object.assign(confirm(room, own), { time: said.time });
  });
  if (room.hasBeenEntered) {
    for (const line of added) if (line.state === 'earlier') line.state = 'missed';
  }
  room.hasBeenEntered = true;
  append(room, ...added);
  return added;
}

/** Takes a line that was just said. @returns it; of an own one, the one that waited */
export function hear(room: Room, nick: string, text: string): Line {
  const underWay = nick === room.nick ? room.unconfirmed.findIndex(line => line.uid !== undefined) : -1;
  const line = underWay === -1 ? saidLine(room, nick, text, 'live') : confirm(room, underWay);
  line.text = text;
  line.time = Date.now();
  append(room, line);
  return line;
}

/** Takes a line that the server itself says. @returns it */
export function announce(room: Room, said: Logged): Line {
  const line = { ...earlierLine(room, said), state: 'live' as const, isKept: said.time !== undefined };
  append(room, line);
  return line;
}

/** The server refused what was sent under this uid. */
export function refuse(room: Room, uid: number, reason: string): void {
  const line = room.unconfirmed.find(one => one.uid === uid);
  if (line === undefined) return;
  line.state = 'refused';
  line.reason = reason;
  line.uid = undefined;
}

/** Nothing is under way any more: the connection is lost. */
export function recall(room: Room): void {
  for (const line of room.unconfirmed) line.uid = undefined;
}

/** The lines to be sent now. One that has been tried too often is given up. */
export function due(room: Room): Line[] {
  const waiting = room.unconfirmed.filter(line => line.state === 'waiting' && line.uid === undefined);
  for (const line of waiting) {
    if (line.tries < maxTries) continue;
    line.state = 'refused';
    line.reason = 'the connection broke whenever it was sent';
  }
  return waiting.filter(line => line.state === 'waiting');
}

function confirm(room: Room, index: number): Line {
  const line = room.unconfirmed.splice(index, 1)[0]!;
  line.state = 'live';
  return line;
}

function append(room: Room, ...lines: Line[]): void {
  room.said.push(...lines);
  room.said.splice(0, room.said.length - maxLines);
}

function waitingLine(nick: string, text: string): Line {
  return {
    nick,
    text,
    isOwn: true,
    state: 'waiting',
    time: Date.now(),
    isKept: true,
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
  return { nick, text, isOwn, state, time, isKept: true, uid: undefined, tries: 0, reason: '' };
}

function earlierLine(room: Room, { entry, time }: Logged): Line {
  const nickEnd = entry.indexOf(': ');
  return saidLine(room, entry.slice(0, nickEnd), entry.slice(nickEnd + 2), 'earlier', time);
}

function keptOf(room: Room): Line[] {
  return room.said.filter(line => line.isKept);
}

/** As the history has it. */
function logged(line: Line): string {
  return `${line.nick}: ${line.text}`;
}
