/** The wire of lines: the chat for a terminal, as `nc` or `telnet` speak it. */
import type { Connection } from '../connection/connection.ts';
import { noteClosing, noteEnding } from '../connection/ending.ts';
import { rememberBytes } from '../connection/lastFrames.ts';
import { endConnection } from '../connection/outbox.ts';
import { establish } from '../connection/places.ts';
import { beginShare, spendShare } from '../connection/share.ts';
import type { Wire } from '../connection/wire.ts';
import { maxPacketBlob, typingTimeout } from '../protocol/bounds.ts';
import { addUser, enterRoom, findRoom, leaveChat, leaveRoom } from '../session/chat.ts';
import { lineVoice } from '../session/lineVoice.ts';
import { readName } from '../session/names.ts';
import { countMessage, openWithoutHandler } from '../session/processData.ts';
import { type Chat, tell, type User } from '../session/room.ts';
import { say } from '../session/say.ts';

/** Where everyone starts. */
const firstRoom = 'lobby';

const help = `* /join ROOM  go to another room
* /who        who is in this one
* /quit       leave (Ctrl-C does, too)
* all other lines are said; // begins one that starts with a slash`;

const LF = 0x0a;
const CR = 0x0d;

/** @param http what the connection turns out to speak after all, if it was merely slow */
export function newLinesWire(chat: Chat, http: Wire): Wire {
  function show(connection: Connection, text: string): void {
    tell({ connection }, Buffer.from(`${text}\n`));
  }

  function takeLine(connection: Connection, line: Buffer): void {
    const user = connection.data as User | undefined;
    if (user === undefined) takeNick(connection, line);
    else if (line.length === 0) return;
    else if (line[0] === 0x2f && line[1] !== 0x2f) obey(user, line.toString('utf8'));
    else {
      const why = say(chat, user, 0, line[0] === 0x2f ? line.subarray(1) : line);
      if (why !== undefined) show(connection, `! ${why}`);
    }
  }

  function takeNick(connection: Connection, line: Buffer): void {
    const name = readName(line, 'nick');
    if (typeof name === 'string') return show(connection, `! ${name}; which nick do you want?`);
    const user = addUser(chat, connection, lineVoice, name);
    if (typeof user === 'string') return show(connection, `! ${user}; which other?`);
    connection.data = user;
    connection.trustLevel = 3;
    establish(connection);
    show(connection, `* welcome, ${name.text}; /help lists what you can do`);
    goTo(user, firstRoom);
  }

  function goTo(user: User, roomName: string): void {
    const { connection } = user;
    const name = readName(Buffer.from(roomName), 'room');
    if (typeof name === 'string') return show(connection, `! ${name}`);
    if (user.room?.name.key === name.key) return show(connection, `! you are in ${name.text} already`);
    const room = findRoom(chat, name);
    if (typeof room === 'string') return show(connection, `! ${room}`);
    if (room === undefined) {
      // Its history is being read; until then this is the message that the connection is at.
      const bytes = Buffer.from(roomName);
      connection.unfinished = { isText: true, bytes, start: 0, end: bytes.length };
      return;
    }
    leaveRoom(chat, user);
    show(connection, `* this is ${room.name.text}`);
    enterRoom(chat, user, room);
  }

  /** @returns false while the room that the user wants to go to has its history read */
  function finishGoing(connection: Connection): boolean {
    const { unfinished } = connection;
    if (unfinished === undefined) return true;
    connection.unfinished = undefined;
    goTo(connection.data as User, (unfinished.bytes as Buffer).toString('utf8'));
    connection.isHeldBack = connection.unfinished !== undefined;
    return !connection.isHeldBack;
  }

  function obey(user: User, line: string): void {
    const [command = '', ...words] = line.trim().split(/\s+/);
    const { connection, room } = user;
    if (command === '/join') goTo(user, words.join(' '));
    else if (command === '/who') {
      const nicks = [...(room?.users ?? [])].map(({ nick }) => nick.text);
      show(connection, `* ${nicks.length} in ${room?.name.text}: ${nicks.join(', ')}`);
    } else if (command === '/quit') {
      noteEnding(connection, 'client', 'the client said /quit');
      lines.close(connection, 0, 'goodbye');
    } else if (command === '/help') show(connection, help);
    else show(connection, `! there is no ${command}; /help lists what there is`);
  }

  function leave(connection: Connection): void {
    leaveChat(chat, connection);
    endConnection(connection);
  }

  const lines: Wire = {
    name: 'lines',

    /** A line that HTTP does not claim, of text. */
    matches(bytes, start, end) {
      if (bytes[start]! < 0x20 && bytes[start] !== CR && bytes[start] !== LF) return false;
      return bytes.subarray(start, end).includes(LF) ? true : undefined;
    },

    begin(connection) {
      openWithoutHandler(connection, 2);
      show(connection, '* this is Pollywog, a chat; which nick do you want?');
    },

    receive(connection, bytes, start, end) {
      beginShare(connection);
      if (!finishGoing(connection)) return start;
      let at = start;
      while (connection.phase === 'open') {
        if (connection.data === undefined && http.matches?.(bytes, at, end, connection) === true) {
          connection.wire = http;
          return at;
        }
        const next = bytes.subarray(at, end).indexOf(LF);
        if (next < 0 && end - at <= maxPacketBlob) return at;
        if (next < 0 || next > maxPacketBlob) {
          lines.close(connection, 0, `a line is at most ${maxPacketBlob} bytes`);
          break;
        }
        const stop = at + next;
        const line = bytes.subarray(at, stop > at && bytes[stop - 1] === CR ? stop - 1 : stop);
        // Only what is known to be no request: that may hold what is nobody's business.
        rememberBytes(connection, bytes, at, stop + 1);
        at = stop + 1;
        countMessage(connection);
        takeLine(connection, line);
        if (!spendShare(connection, line.length)) return at;
        if (connection.unfinished !== undefined) {
          connection.isHeldBack = true;
          return at;
        }
      }
      return end;
    },

    isUrgent: () => false,

    close(connection, _code, reason) {
      if (connection.phase !== 'open') return;
      noteClosing(connection, reason);
      show(connection, `* ${reason}`);
      leave(connection);
    },

    lost(connection, error) {
      const { input, inputStart, inputEnd } = connection;
      // The last line may lack its end: `printf 'hello' | nc`.
      if (error === undefined && input !== undefined && connection.phase === 'open') {
        connection.input = undefined;
        takeLine(connection, input.subarray(inputStart, inputEnd));
        connection.unfinished = undefined;
      }
      leave(connection);
    },

    checkDeadlines(connection) {
      const { now } = connection.server;
      if (connection.trustLevel === 3 || now - connection.levelAt < typingTimeout) return;
      lines.close(connection, 0, `no nick within ${typingTimeout / 1000} s; goodbye`);
    },
  };
  return lines;
}
