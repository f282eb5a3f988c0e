/** The wire of lines: the chat for a terminal, as `nc` or `telnet` speak it. */
import type { Connection } from '../core/connection.ts';
import { charge, startBudget } from '../core/fairness.ts';
import { endConnection } from '../core/outbox.ts';
import { establish } from '../core/places.ts';
import { countMessage, openRawSession } from '../core/processData.ts';
import type { Wire } from '../core/wire.ts';
import { noteClosing, noteEnding } from '../diagnostics/closeReason.ts';
import { recordBytes } from '../diagnostics/recorder.ts';
import { addUser, enterRoom, findRoom, leaveChat, leaveRoom, settleArrival } from '../handlers/chat/chat.ts';
import { lineVoice } from '../handlers/chat/lineVoice.ts';
import { readName } from '../handlers/chat/names.ts';
import { type Chat, tell, type User } from '../handlers/chat/room.ts';
import { say } from '../handlers/chat/say.ts';
import { maxPacketBlob, typingTimeout } from '../protocol/limits.ts';
import { beginsTelnet, IAC, readTelnet } from '../protocol/telnet.ts';

/** Where everyone starts. */
const firstRoom = 'lobby';

const help = `* /join ROOM  go to another room
* /who        who is in this one
* /quit       leave (Ctrl-C does, too)
* all other lines are said; // begins one that starts with a slash`;

/**
 * A web page can send a request to any port, whose body would be said in the chat: its first line ends the connection, as
 * redis does.
 */
function isRequest(line: Buffer): boolean {
  return / HTTP\/\d\S*$/i.test(line.toString('latin1', Math.max(0, line.length - 16)));
}

const LF = 0x0a;
const CR = 0x0d;

/** Telnet ends a line with CR LF, or in character mode with CR NUL (RFC 854). */
const CRNUL = Buffer.of(CR, 0);

/** Where the first line of `bytes[start, end)` ends, and the next one begins. */
const lineEnd = { at: 0, next: 0 };

/** @returns false if the line has no end yet */
function findLineEnd(bytes: Buffer, start: number, end: number): boolean {
  const input = bytes.subarray(start, end);
  const lf = input.indexOf(LF);
  const upTo = lf < 0 ? input : input.subarray(0, lf);
  const cr = upTo.indexOf(CRNUL);
  if (lf < 0 && cr < 0) return false;
  lineEnd.at = start + (cr >= 0 ? cr : lf > 0 && input[lf - 1] === CR ? lf - 1 : lf);
  lineEnd.next = start + (cr >= 0 ? cr + 2 : lf + 1);
  return true;
}

export function newLinesWire(chat: Chat): Wire {
  function show(connection: Connection, text: string): void {
    tell({ connection }, Buffer.from(`${text}\n`));
  }

  /** @param raw as received: it may contain telnet commands */
  function takeLine(connection: Connection, raw: Buffer): void {
    const { text: line, answer } = raw.includes(IAC) ? readTelnet(raw) : { text: raw, answer: undefined };
    // What is no UTF-8 is refused as a whole, where it is said.
    if (answer !== undefined && answer.length > 0) tell({ connection }, answer);
    const user = connection.data as User | undefined;
    if (user === undefined) return takeNick(connection, line);
    if (line.length === 0) return;
    settleArrival(user);
    if (line[0] === 0x2f && line[1] !== 0x2f) runChatCommand(user, line.toString('utf8'));
    else {
      const why = say(chat, user, 0, line[0] === 0x2f ? line.subarray(1) : line);
      if (why !== undefined) show(connection, `! ${why}`);
    }
  }

  function takeNick(connection: Connection, line: Buffer): void {
    // An empty line is a way to knock.
    if (line.length === 0 && connection.messagesIn === 1) return;
    if (isRequest(line)) return lines.close(connection, 0, 'lines are spoken here, not HTTP');
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
      connection.resumableMessage = { isText: true, bytes, start: 0, end: bytes.length };
      return;
    }
    leaveRoom(chat, user);
    show(connection, `* this is ${room.name.text}`);
    enterRoom(chat, user, room);
  }

  /** @returns false while the room that the user wants to go to has its history read */
  function finishGoing(connection: Connection): boolean {
    const { resumableMessage } = connection;
    if (resumableMessage === undefined) return true;
    connection.resumableMessage = undefined;
    goTo(connection.data as User, (resumableMessage.bytes as Buffer).toString('utf8'));
    connection.isThrottled = connection.resumableMessage !== undefined;
    return !connection.isThrottled;
  }

  function runChatCommand(user: User, line: string): void {
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

    /** A line that HTTP does not claim, of text; or a telnet client's negotiation. */
    matches(bytes, start, end) {
      const isTelnet = beginsTelnet(bytes, start, end);
      if (isTelnet !== false) return isTelnet;
      if (bytes[start]! < 0x20 && bytes[start] !== CR && bytes[start] !== LF) return false;
      return findLineEnd(bytes, start, end) ? true : undefined;
    },

    begin(connection) {
      openRawSession(connection, 2);
      show(connection, '* this is Pollywog, a chat; which nick do you want?');
    },

    receive(connection, bytes, start, end) {
      startBudget(connection);
      if (!finishGoing(connection)) return start;
      let at = start;
      while (connection.phase === 'open') {
        const isWhole = findLineEnd(bytes, at, end);
        if (!isWhole && end - at <= maxPacketBlob) return at;
        if (!isWhole || lineEnd.at - at > maxPacketBlob) {
          lines.close(connection, 0, `a line is at most ${maxPacketBlob} bytes`);
          break;
        }
        const line = bytes.subarray(at, lineEnd.at);
        recordBytes(connection, bytes, at, lineEnd.next);
        at = lineEnd.next;
        countMessage(connection);
        takeLine(connection, line);
        if (!charge(connection, line.length)) return at;
        if (connection.resumableMessage !== undefined) {
          connection.isThrottled = true;
          return at;
        }
      }
      return end;
    },

    close(connection, _code, reason) {
      if (connection.phase !== 'open') return;
      noteClosing(connection, reason);
      show(connection, `* ${reason}`);
      leave(connection);
    },

    onEnd(connection, error) {
      const { input, inputStart, inputEnd } = connection;
      // The last line may lack its end: `printf 'hello' | nc`.
      if (error === undefined && input !== undefined && connection.phase === 'open') {
        connection.input = undefined;
        takeLine(connection, input.subarray(inputStart, inputEnd));
        connection.resumableMessage = undefined;
      }
      leave(connection);
    },

    checkDeadlines(connection) {
      const { now } = connection.server;
      if (connection.trustLevel === 3 || now - connection.stageSince < typingTimeout) return;
      lines.close(connection, 0, `no nick within ${typingTimeout / 1000} s; goodbye`);
    },
  };
  return lines;
}
