/** Dialects translate between lines and messages: one line is one message, or the chat's packets. */

import { Buffer } from 'node:buffer';
import { maxPacketBlob } from '../protocol/limits.ts';
import {
  magic,
  newPacket,
  type Packet,
  PacketCommand,
  packetHeaderSize,
  readPacket,
  writePacket,
} from '../protocol/tpacket.ts';
import type { Message } from '../protocol/websocket/message.ts';
import { done, ExitCode, outcome, terminalSafe } from './outcome.ts';
import type { ClientOutput } from './output.ts';
import { type ClientSession, sendData, startClose } from './session.ts';

export interface Dialect {
  /** Called for each new connection. */
  onOpen(session: ClientSession): void;
  /** Whether input can be sent now. When that becomes true, the dialect wakes the session. */
  isReady(): boolean;
  /** Sends a line of UTF-8. */
  sendText(session: ClientSession, text: Buffer): void;
  /** Prints a message, which is valid during the call. @returns the number of lines printed, which `--count` counts */
  printMessage(session: ClientSession, message: Message): number;
}

/** Sends each line as a message, and prints each message. */
export function newPlainDialect(output: ClientOutput): Dialect {
  return {
    onOpen() {},
    isReady: () => true,
    sendText: (session, text) => sendData(session, true, text),
    printMessage(_, message) {
      output.message(message);
      return 1;
    },
  };
}

/** The maximum number of nicks kept: more would let a server exhaust the client's memory. */
const maxUsers = 65_536;

/** The step of joining that waits for an answer; 'in' after the last. */
type Stage = 'nick' | 'room' | 'in';

/** The uids of requests, which their answers echo. */
const nickRequest = 1;
const roomRequest = 2;
const saidRequest = 3;

/** A typed line that begins with a slash is a command for the client. */
const slash = '/'.charCodeAt(0);

const help = [
  '* /who        list the people in the room; to change rooms, restart with --room',
  '* /quit       leave (or press Ctrl-D)',
  '* other lines go to the room; start one with // to send a leading slash',
];

/**
 * The chat, as lines: `ada: hello`, `* ada is here`, `! an error`.
 * @param isTyped whether input is typed at a terminal: then another nick may be tried, and own messages are not repeated
 */
export function newChatDialect(
  wanted: { nick: string; room: string },
  output: ClientOutput,
  isTyped: boolean,
): Dialect {
  const packet = newPacket();
  const nicks = new Map<number, string>();
  let nick = wanted.nick;
  let stage: Stage = 'nick';
  let hasBeenIn = false;
  /** The uid of this client's user. */
  let ownUid: number | undefined;

  const nickOf = (uid: number) => nicks.get(uid) ?? `user ${uid}`;
  const askForNick = (session: ClientSession, text: string) => {
    nick = text.normalize('NFC');
    sendPacket(session, PacketCommand.SetUserNick, nickRequest, Buffer.from(nick));
  };

  const onAnswer = (session: ClientSession, { cmd, uid }: Packet, blob: string): number => {
    if (cmd === PacketCommand.RespError) {
      const why = blob === '' ? 'the server refused' : blob;
      if (stage === 'in' || (isTyped && stage === 'nick')) {
        output.notice(`! ${oneLine(why)}${stage === 'nick' ? '; type another nick' : ''}`);
      } else {
        // The server may not have noticed yet that this nick's last connection is gone, so a retry may succeed.
        startClose(session, { code: 1000, reason: '' }, outcome(ExitCode.Closed, why, hasBeenIn));
      }
    } else if (stage === 'nick' && uid === nickRequest) {
      stage = 'room';
      sendPacket(session, PacketCommand.SetRoom, roomRequest, Buffer.from(wanted.room));
    } else if (stage === 'room' && uid === roomRequest) {
      stage = 'in';
      hasBeenIn = true;
      session.wake();
    }
    return 0;
  };

  const onPacket = (session: ClientSession): number => {
    const { cmd, p1, bytes, start, end } = packet;
    const blob = Buffer.from(bytes.subarray(start, end)).toString('utf8');
    switch (cmd) {
      case PacketCommand.RespOk:
      case PacketCommand.RespError:
        return onAnswer(session, packet, blob);
      case PacketCommand.NewUser:
        if (nicks.size < maxUsers) nicks.set(p1, oneLine(blob));
        if (blob === nick) ownUid = p1;
        return print(`* ${oneLine(blob)} is here`);
      case PacketCommand.DelUser:
        nicks.delete(p1);
        return print(`* ${oneLine(blob)} left`);
      case PacketCommand.NewMsg:
        return isTyped && p1 === ownUid ? 0 : print(`${nickOf(p1)}: ${indentLines(blob)}`);
      case PacketCommand.LoggedMsg:
        return print(indentLines(blob));
      default:
        return 0;
    }
  };

  const print = (line: string) => {
    output.line(line);
    return 1;
  };

  const runSlashCommand = (session: ClientSession, line: string) => {
    const [command = ''] = line.trim().split(/\s/, 1);
    if (command === '/who')
      output.notice(`* ${nicks.size} in ${wanted.room}: ${[...nicks.values()].join(', ')}`);
    else if (command === '/quit') startClose(session, { code: 1000, reason: '' }, done);
    else if (command === '/help') output.notice(...help);
    else output.notice(`! unknown command ${command}; /help lists the commands`);
  };

  return {
    onOpen(session) {
      nicks.clear();
      stage = 'nick';
      sendPacket(session, PacketCommand.Nop, 0, Buffer.from(magic));
      askForNick(session, nick);
    },
    isReady: () => isTyped || stage === 'in',
    sendText(session, line) {
      if (stage === 'nick') askForNick(session, line.toString('utf8'));
      else if (stage === 'room') output.notice('! not in the room yet');
      else if (isTyped && line[0] === slash && line[1] !== slash)
        runSlashCommand(session, line.toString('utf8'));
      else if (line.length > maxPacketBlob) output.notice(`! a line has at most ${maxPacketBlob} bytes`);
      else if (line.length > 0) {
        const isEscaped = isTyped && line[0] === slash;
        sendPacket(session, PacketCommand.NewMsg, saidRequest, isEscaped ? line.subarray(1) : line);
      }
    },
    printMessage(session, { isText, bytes, start, end }: Message) {
      let lines = 0;
      for (let at = start; at < end; ) {
        const size = isText ? 0 : readPacket(packet, bytes, at, end);
        if (size === 0) {
          output.notice('! the server sent a message that is not a packet');
          return lines;
        }
        lines += onPacket(session);
        at += size;
      }
      return lines;
    },
  };
}

function sendPacket(session: ClientSession, cmd: number, uid: number, blob: Buffer): void {
  const bytes = Buffer.allocUnsafe(packetHeaderSize + blob.length);
  writePacket(bytes, 0, cmd, uid, 0, 0, blob);
  sendData(session, false, bytes);
}

function oneLine(text: string): string {
  return terminalSafe(text.replace(/[\n\t]/g, ' '));
}

/** Indents further lines, so that a message cannot imitate another user's line. */
function indentLines(text: string): string {
  return terminalSafe(text.replace(/\r?\n/g, '\n    '));
}
