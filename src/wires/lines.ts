/** The chat for terminals (`nc`, `telnet`): one line is one message. */

import { endConnection } from '../core/close.ts';
import { charge, startBudget } from '../core/fairness.ts';
import { establish } from '../core/places.ts';
import { countMessage, openRawSession } from '../core/processData.ts';
import { limitMessages } from '../core/rates.ts';
import { sendMessage } from '../core/send.ts';
import { noteClosing, noteEnding } from '../diagnostics/closeReason.ts';
import { recordBytes } from '../diagnostics/recorder.ts';
import {
  addUser,
  authorizeRoom,
  chatNeed,
  chooseNick,
  enterRoom,
  flushArrival,
  leaveChat,
  leaveRoom,
  roomFault,
} from '../handlers/chat/chat.ts';
import { lineEncoder } from '../handlers/chat/encoders.ts';
import { readName } from '../handlers/chat/names.ts';
import { postMessage } from '../handlers/chat/post.ts';
import type { Chat, User } from '../handlers/chat/room.ts';
import { maxPacketBlob, typingTimeout } from '../protocol/limits.ts';
import { beginsTelnet, IAC, readTelnet } from '../protocol/telnet.ts';
import { workUnits } from '../protocol/workUnits.ts';
import type { Connection, Wire } from '../records/records.ts';

/** The room that every user joins first. */
const firstRoom = 'lobby';

const help = `* /join ROOM  move to another room
* /who        list the people in this room
* /quit       leave (or press Ctrl-C)
* other lines go to the room; start one with // to send a leading slash`;

/**
 * Whether the line is an HTTP request line. A web page can send a POST to any port, and its body would be posted in the chat;
 * so a request line as a nick ends the connection, as in redis.
 */
function isRequest(line: Buffer): boolean {
  return / HTTP\/\d\S*$/i.test(line.toString('latin1', Math.max(0, line.length - 16)));
}

const LF = 0x0a;
const CR = 0x0d;

/** RFC 854: telnet ends a line with CR LF, or with CR NUL in character mode. */
const CRNUL = Buffer.of(CR, 0);

/** The result of `findLineEnd`: the end of the first line, and the start of the next one. */
const lineEnd = { at: 0, next: 0 };

/** Bytes in which the end of a line is searched first. Searching all that has arrived, for each short line, would take long. */
const usualLine = 256;

/** Finds the end of the first line of `bytes[start, end)`. @returns false if the line has no end yet */
function findLineEnd(bytes: Buffer, start: number, end: number): boolean {
  for (let size = usualLine; ; size *= 4) {
    const input = bytes.subarray(start, Math.min(end, start + size));
    const lf = input.indexOf(LF);
    const upTo = lf < 0 ? input : input.subarray(0, lf);
    const cr = upTo.indexOf(CRNUL);
    if (lf >= 0 || cr >= 0) {
      lineEnd.at = start + (cr >= 0 ? cr : lf > 0 && input[lf - 1] === CR ? lf - 1 : lf);
      lineEnd.next = start + (cr >= 0 ? cr + 2 : lf + 1);
      return true;
    }
    if (start + size >= end) return false;
  }
}

function sendBytes(connection: Connection, bytes: Uint8Array): void {
  sendMessage(connection, false, bytes, 0, bytes.length);
}

export function newLinesWire(chat: Chat): Wire {
  function sendLine(connection: Connection, text: string): void {
    sendBytes(connection, Buffer.from(`${text}\n`));
  }

  /** @param raw may contain telnet commands */
  function receiveLine(connection: Connection, raw: Buffer): void {
    const { text: line, answer } = raw.includes(IAC) ? readTelnet(raw) : { text: raw, answer: undefined };
    if (answer !== undefined && answer.length > 0) sendBytes(connection, answer);
    const user = connection.data as User | undefined;
    if (user === undefined) return receiveNick(connection, line);
    if (line.length === 0) return;
    flushArrival(user);
    if (line[0] === 0x2f && line[1] !== 0x2f) runChatCommand(user, line.toString('utf8'));
    else {
      const start = line[0] === 0x2f ? 1 : 0;
      const why = postMessage(chat, user, 0, { bytes: line, start, end: line.length });
      if (why !== undefined) sendLine(connection, `! ${why}`);
    }
  }

  function receiveNick(connection: Connection, line: Buffer): void {
    // Some terminals send an empty line to wake the other side.
    if (line.length === 0 && connection.messagesIn === 1) return;
    if (isRequest(line)) return lines.close(connection, 0, 'this port speaks lines, not HTTP');
    const name = chooseNick(chat, connection, line);
    if (typeof name === 'string') return sendLine(connection, `! ${name}; which nick do you want?`);
    const user = addUser(chat, connection, lineEncoder, name);
    if (typeof user === 'string') return sendLine(connection, `! ${user}; choose another`);
    connection.data = user;
    connection.trustLevel = 3;
    establish(connection);
    sendLine(connection, `* welcome, ${name.text}; /help lists the commands`);
    moveTo(user, firstRoom);
  }

  function moveTo(user: User, roomName: string): void {
    const { connection } = user;
    const name = readName(Buffer.from(roomName), 'room');
    if (typeof name === 'string') return sendLine(connection, `! ${name}`);
    if (user.room?.name.key === name.key) return sendLine(connection, `! you are in ${name.text} already`);
    const why = roomFault(chat, name);
    if (why !== undefined) return sendLine(connection, `! ${why}`);
    authorizeRoom(chat, connection, name, refusal => {
      if (refusal !== undefined) return sendLine(connection, `! ${refusal}`);
      leaveRoom(chat, user);
      sendLine(connection, `* this is ${chat.rooms.get(name.key)?.name.text ?? name.text}`);
      enterRoom(chat, user, name);
    });
  }

  function runChatCommand(user: User, line: string): void {
    const [command = '', ...words] = line.trim().split(/\s+/);
    const { connection, room } = user;
    if (command === '/join') moveTo(user, words.join(' '));
    else if (command === '/who') {
      if (room === undefined) return sendLine(connection, '! you are in no room; enter one with /join ROOM');
      workUnits.spent += room.users.size;
      const nicks = [...room.users].map(({ nick }) => nick.text);
      sendLine(connection, `* ${nicks.length} in ${room.name.text}: ${nicks.join(', ')}`);
    } else if (command === '/quit') {
      noteEnding(connection, 'client', 'the client said /quit');
      lines.close(connection, 0, 'goodbye');
    } else if (command === '/help') sendLine(connection, help);
    else sendLine(connection, `! unknown command ${command}; /help lists the commands`);
  }

  function leave(connection: Connection): void {
    leaveChat(chat, connection);
    endConnection(connection);
  }

  const lines: Wire = {
    name: 'lines',
    need: () => chatNeed(chat, '/lines'),

    /** A telnet client's negotiation, or a line of text, after HTTP has declined it. */
    matches(bytes, start, end) {
      const isTelnet = beginsTelnet(bytes, start, end);
      if (isTelnet !== false) return isTelnet;
      if (bytes[start]! < 0x20 && bytes[start] !== CR && bytes[start] !== LF) return false;
      return findLineEnd(bytes, start, end) ? true : undefined;
    },

    begin(connection) {
      openRawSession(connection, 2);
      sendLine(connection, '* this is Pollywog, a chat; which nick do you want?');
    },

    receive(connection, bytes, start, end) {
      startBudget(connection);
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
        if (connection.rate !== undefined) limitMessages(connection, connection.rate);
        receiveLine(connection, line);
        if (!charge(connection, line.length)) return at;
      }
      return end;
    },

    close(connection, _code, reason) {
      if (connection.phase !== 'open') return;
      noteClosing(connection, reason);
      sendLine(connection, `* ${reason}`);
      leave(connection);
    },

    onEnd(connection, error) {
      const { input, inputStart, inputEnd } = connection;
      // The last line may have no line end: `printf 'hello' | nc`.
      if (error === undefined && input !== undefined && connection.phase === 'open') {
        connection.input = undefined;
        receiveLine(connection, input.subarray(inputStart, inputEnd));
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
