/** The chat page: a form to enter a room, and the room. */
import { newComposer } from './composer.ts';
import { type MessageList, newMessageList } from './messages.ts';
import {
  addLine,
  addServerLine,
  type Line,
  linesToSend,
  markUnsent,
  mergeHistory,
  newRoom,
  type Room,
  rejectLine,
  saveRoom,
  writeLine,
} from './room.ts';
import { newRoster } from './roster.ts';
import { type Session, startSession } from './session.ts';
import { newStatus } from './status.ts';
import { loadItem, saveItem } from './store.ts';

/** The room of this tab, so that a reload returns to it. */
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
let hasEntered = false;
/** Our last nick: the server may not have noticed yet that it is free again. */
let lastNick = loadItem<Seat>('seat')?.nick;
/** Lines of others since the end of the conversation was last visible. */
let unread = 0;

const status = newStatus(() => session?.wake());
const roster = newRoster(byId('roster'), byId<HTMLButtonElement>('people'));
const messages: MessageList = newMessageList(byId('log'), byId('lines'), {
  scrolled: countUnread,
  tryAgain(line) {
    line.state = 'waiting';
    line.tries = 0;
    sendWaiting();
  },
  discard(line) {
    const at = room?.unconfirmed.indexOf(line) ?? -1;
    if (at !== -1) room?.unconfirmed.splice(at, 1);
    changed();
  },
});
const composer = newComposer(byId<HTMLFormElement>('composer'), byId<HTMLTextAreaElement>('draft'), text => {
  if (room === undefined) return;
  writeLine(room, text);
  messages.scrollToEnd();
  sendWaiting();
});

/** @param wasHere whether we had this nick a moment ago */
function enter(nick: string, roomName: string, wasHere: boolean): void {
  session?.end();
  hasEntered = false;
  const here = newRoom(roomName, nick);
  room = here;
  showProblem('nick', '');
  showProblem('room', '');
  session = startSession(nick, roomName, wasHere, {
    connecting: status.connecting,
    lost(retryAt) {
      hasEntered = false;
      markUnsent(here);
      status.lost(retryAt);
      messages.show(here);
    },
    entered(history, transport) {
      hasEntered = true;
      const isFirst = !here.hasBeenEntered;
      if (isFirst) showChat(here);
      const missed = mergeHistory(here, history).filter(line => !line.isOwn);
      if (!isFirst) noteUnread(missed.length);
      status.entered(transport);
      sendWaiting();
    },
    roster: people => roster.show(people, nick),
    message(from, text) {
      const line = addLine(here, from, text);
      if (line.isOwn) changed();
      else messages.show(here);
      if (!line.isOwn) noteUnread(1);
    },
    serverMessage(line) {
      addServerLine(here, line);
      messages.show(here);
      noteUnread(1);
    },
    lineRejected(uid, sentence) {
      rejectLine(here, uid, sentence);
      changed();
    },
    rejected(field, sentence) {
      showDoor();
      showProblem(field, sentence);
    },
  });
}

/** Sends waiting lines if we are in the room, and shows the result. */
function sendWaiting(): void {
  if (room === undefined) return;
  const send = (line: Line): void => {
    line.uid = session?.send(line.text);
    line.nick = room?.nick ?? line.nick;
    line.tries++;
  };
  if (hasEntered) linesToSend(room).forEach(send);
  changed();
}

/** Saves our unconfirmed lines for a reload, and renders the room. */
function changed(): void {
  if (room === undefined) return;
  saveRoom(room);
  messages.show(room);
}

function showChat(here: Room): void {
  lastNick = here.nick;
  saveItem('seat', { nick: here.nick, room: here.name } satisfies Seat);
  // The address has no nick, so that it can be shared.
  history.replaceState(null, '', `?room=${encodeURIComponent(here.name)}`);
  byId('room-name').textContent = here.name;
  door.hidden = true;
  chat.hidden = false;
  unread = 0;
  countUnread();
  messages.scrollToEnd();
  composer.enter(here.name);
}

function showDoor(): void {
  session?.end();
  session = undefined;
  room = undefined;
  hasEntered = false;
  saveItem('seat', undefined);
  roster.close();
  status.entered('');
  door.hidden = false;
  chat.hidden = true;
  document.title = 'Pollywog';
}

/** @param sentence what is wrong with the field; empty to clear it */
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

/** Enters the room in the form. */
function tryToEnter(): void {
  // The server normalizes names in the same way.
  const nick = fields.nick.value.trim().normalize('NFC');
  const name = fields.room.value.trim().normalize('NFC');
  // A second submit must not conflict with the first one.
  const isEntering = session !== undefined && room?.nick === nick && room.name === name;
  if (isEntering) session?.wake();
  else if (nick !== '' && name !== '') enter(nick, name, nick === lastNick);
  if (name === '') showProblem('room', 'enter the name of a room');
  if (nick === '') showProblem('nick', 'enter a name');
}

door.addEventListener('submit', event => {
  event.preventDefault();
  tryToEnter();
});
byId('leave').onclick = () => {
  showDoor();
  fields.room.select();
};
pill.onclick = () => {
  messages.scrollToEnd();
  byId('draft').focus();
};
document.addEventListener('keydown', event => {
  if (event.key === 'Escape' && !event.isComposing && !chat.hidden && !roster.close()) messages.scrollToEnd();
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  session?.wake();
  countUnread();
});
addEventListener('online', () => session?.wake());

const address = new URLSearchParams(location.search);
const seat = loadItem<Seat>('seat');
const nick = address.get('nick') ?? seat?.nick ?? '';
const roomName = address.get('room') ?? seat?.room ?? 'lobby';
fields.nick.value = nick.trim().slice(0, fields.nick.maxLength);
fields.room.value = roomName.trim().slice(0, fields.room.maxLength);
const isBack = nick === seat?.nick && roomName === seat.room;
if (isBack || (address.has('nick') && address.has('room'))) tryToEnter();
else fields.nick.focus();
