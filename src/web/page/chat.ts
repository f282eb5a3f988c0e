/** The page: two fields that lead into a room, and the room. */
import { newComposer } from './composer.ts';
import { type MessageList, newMessageList } from './messages.ts';
import {
  announce,
  due,
  hear,
  join,
  keep,
  type Line,
  newRoom,
  type Room,
  recall,
  refuse,
  write,
} from './room.ts';
import { newRoster } from './roster.ts';
import { type Session, startSession } from './session.ts';
import { newStatus } from './status.ts';
import { remember, remembered } from './store.ts';

/** Where this tab is, so that a reload leads back. */
interface Seat {
  readonly nick: string;
  readonly room: string;
}

const byId = <Kind extends HTMLElement>(id: string) => document.getElementById(id) as Kind;
const door = byId<HTMLFormElement>('door');
const fields = { nick: byId<HTMLInputElement>('nick'), room: byId<HTMLInputElement>('room') };
const chat = byId('chat');
const pill = byId<HTMLButtonElement>('pill');

let session: Session | undefined;
let room: Room | undefined;
let isIn = false;
/** Which the server may not yet know to be free again. */
let lastNick = remembered<Seat>('seat')?.nick;
/** Lines of others that came while the newest was not in sight. */
let unread = 0;

const status = newStatus(() => session?.wake());
const roster = newRoster(byId('roster'), byId<HTMLButtonElement>('people'));
const messages: MessageList = newMessageList(byId('log'), byId('lines'), {
  scrolled: countUnread,
  tryAgain(line) {
    line.state = 'waiting';
    line.tries = 0;
    sendDue();
  },
  discard(line) {
    const at = room?.unconfirmed.indexOf(line) ?? -1;
    if (at !== -1) room?.unconfirmed.splice(at, 1);
    changed();
  },
});
const composer = newComposer(byId<HTMLFormElement>('composer'), byId<HTMLTextAreaElement>('draft'), text => {
  if (room === undefined) return;
  write(room, text);
  messages.toEnd();
  sendDue();
});

/** @param wasHere whether the nick was ours a moment ago */
function enter(nick: string, roomName: string, wasHere: boolean): void {
  session?.end();
  isIn = false;
  const here = newRoom(roomName, nick);
  room = here;
  showProblem('nick', '');
  showProblem('room', '');
  session = startSession(nick, roomName, wasHere, {
    connecting: status.connecting,
    lost(retryAt) {
      isIn = false;
      recall(here);
      status.lost(retryAt);
      messages.show(here);
    },
    entered(logged, way) {
      isIn = true;
      const isFirst = !here.hasBeenEntered;
      if (isFirst) showChat(here);
      const missed = join(here, logged).filter(line => !line.isOwn);
      if (!isFirst) noteUnread(missed.length);
      status.entered(way);
      sendDue();
    },
    roster: people => roster.show(people, nick),
    heard(from, text) {
      const line = hear(here, from, text);
      if (line.isOwn) changed();
      else messages.show(here);
      if (!line.isOwn) noteUnread(1);
    },
    announced(said) {
      announce(here, said);
      messages.show(here);
      noteUnread(1);
    },
    refused(uid, sentence) {
      refuse(here, uid, sentence);
      changed();
    },
    turnedAway(field, sentence) {
      showDoor();
      showProblem(field, sentence);
    },
  });
}

/** Sends what waits, where that is possible. */
function sendDue(): void {
  if (room === undefined) return;
  const send = (line: Line): void => {
    line.uid = session?.say(line.text);
    line.nick = room?.nick ?? line.nick;
    line.tries++;
  };
  if (isIn) due(room).forEach(send);
  changed();
}

/** Something of ours changed: it is kept for a reload, and shown. */
function changed(): void {
  if (room === undefined) return;
  keep(room);
  messages.show(room);
}

function showChat(here: Room): void {
  lastNick = here.nick;
  remember('seat', { nick: here.nick, room: here.name } satisfies Seat);
  // The nick stays out of it: whoever is given this address has another.
  history.replaceState(null, '', `?room=${encodeURIComponent(here.name)}`);
  byId('room-name').textContent = here.name;
  door.hidden = true;
  chat.hidden = false;
  unread = 0;
  countUnread();
  messages.toEnd();
  composer.enter(here.name);
}

function showDoor(): void {
  session?.end();
  session = undefined;
  room = undefined;
  isIn = false;
  remember('seat', undefined);
  roster.close();
  status.entered('');
  door.hidden = false;
  chat.hidden = true;
  document.title = 'Pollywog';
}

/** @param sentence says what is wrong with the field; empty where nothing is */
function showProblem(name: 'nick' | 'room', sentence: string): void {
  const field = fields[name];
  byId(`${name}-problem`).textContent = sentence && sentence[0]!.toUpperCase() + sentence.slice(1);
  field.ariaInvalid = String(sentence !== '');
  if (sentence !== '') field.select();
}

function noteUnread(lines: number): void {
  unread += lines;
  countUnread();
}

function countUnread(): void {
  if (!document.hidden && messages.isAtEnd()) unread = 0;
  pill.hidden = unread === 0 || messages.isAtEnd();
  pill.textContent = unread === 1 ? '1 new message' : `${unread} new messages`;
  if (room !== undefined) document.title = `${unread === 0 ? '' : `(${unread}) `}${room.name} · Pollywog`;
}

/** Enters with what the fields say. */
function knock(): void {
  // As the server gives them back.
  const nick = fields.nick.value.trim().normalize('NFC');
  const name = fields.room.value.trim().normalize('NFC');
  // Who knocks twice is not in each other's way.
  const isKnocking = session !== undefined && room?.nick === nick && room.name === name;
  if (isKnocking) session?.wake();
  else if (nick !== '' && name !== '') enter(nick, name, nick === lastNick);
  if (name === '') showProblem('room', 'which room shall it be?');
  if (nick === '') showProblem('nick', 'what shall the others call you?');
}

door.addEventListener('submit', event => {
  event.preventDefault();
  knock();
});
byId('leave').onclick = () => {
  showDoor();
  fields.room.select();
};
pill.onclick = () => {
  messages.toEnd();
  byId('draft').focus();
};
document.addEventListener('keydown', event => {
  if (event.key === 'Escape' && !event.isComposing && !chat.hidden && !roster.close()) messages.toEnd();
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  session?.wake();
  countUnread();
});
addEventListener('online', () => session?.wake());

const address = new URLSearchParams(location.search);
const seat = remembered<Seat>('seat');
const nick = address.get('nick') ?? seat?.nick ?? '';
const roomName = address.get('room') ?? seat?.room ?? 'lobby';
fields.nick.value = nick.trim().slice(0, fields.nick.maxLength);
fields.room.value = roomName.trim().slice(0, fields.room.maxLength);
const isBack = nick === seat?.nick && roomName === seat.room;
if (isBack || (address.has('nick') && address.has('room'))) knock();
else fields.nick.focus();
