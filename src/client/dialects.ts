/** What is made of messages: lines in, lines out. The chat has another one. */

import { Buffer } from 'node:buffer';
import { maxPacketBlob } from '../protocol/limits.ts';
import {
  Command,
  magic,
  newPacket,
  type Packet,
  packetHeaderSize,
  readPacket,
  writePacket,
} from '../protocol/tpacket.ts';
import type { Message } from '../protocol/websocket/message.ts';
import { done, ExitCode, outcome, terminalSafe } from './outcome.ts';
import type { ClientOutput } from './output.ts';
import { type ClientSession, sendData, startClose } from './session.ts';

export interface Dialect {
  /** A connection is open. */
  onOpen(session: ClientSession): void;
  /** Whether what is read from stdin can be said now; until it is, the session is woken when it may have become so. */
  isReady(): boolean;
  /** Says a line, or a text, which is UTF-8. */
  sendText(session: ClientSession, text: Buffer): void;
  /** Prints a message, which is lent. @returns how many lines that made: what `--count` counts */
  printMessage(session: ClientSession, message: Message): number;
}

/** Each text is a message, each message is heard. */
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

/** The chat for the terminal, spoken in packets: `ada: hello`, `* ada is here`, `! why not`. */

/** Users whose nicks are remembered: a server that names more of them does so to fill our memory. */
const maxUsers = 65_536;

/** What was asked for last, and whether it was granted. */
type Stage = 'nick' | 'room' | 'in';

/** The uids of our requests: answers name them. */
const nickRequest = 1;
const roomRequest = 2;
const saidRequest = 3;

/** A line that someone types and that begins so is for us, as in a terminal that speaks lines. */
const slash = '/'.charCodeAt(0);

const help = [
  '* /who        who is in the room; for another one, leave, and come with --room',
  '* /quit       leave (Ctrl-D does, too)',
  '* all other lines are said; // begins one that starts with a slash',
];

/**
 * @param isTyped whether someone types: they may try another nick, and have their own words on the screen already
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
  /** Of what this very user says. */
  let ownUid: number | undefined;

  const nickOf = (uid: number) => nicks.get(uid) ?? `user ${uid}`;
  const askForNick = (session: ClientSession, text: string) => {
    nick = text.normalize('NFC');
    sendPacket(session, Command.SetUserNick, nickRequest, Buffer.from(nick));
  };

  const onAnswer = (session: ClientSession, { cmd, uid }: Packet, blob: string): number => {
    if (cmd === Command.RespError) {
      const why = blob === '' ? 'the server refused' : blob;
      if (stage === 'in' || (isTyped && stage === 'nick')) {
        output.notice(`! ${why}${stage === 'nick' ? '; type another nick' : ''}`);
      } else {
        // A server that has not noticed yet that the last connection is gone still has our nick there.
        startClose(session, { code: 1000, reason: '' }, outcome(ExitCode.Closed, why, hasBeenIn));
      }
    } else if (stage === 'nick' && uid === nickRequest) {
      stage = 'room';
      sendPacket(session, Command.SetRoom, roomRequest, Buffer.from(wanted.room));
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
      case Command.RespOk:
      case Command.RespError:
        return onAnswer(session, packet, blob);
      case Command.NewUser:
        if (nicks.size < maxUsers) nicks.set(p1, oneLine(blob));
        if (blob === nick) ownUid = p1;
        return print(`* ${oneLine(blob)} is here`);
      case Command.DelUser:
        nicks.delete(p1);
        return print(`* ${oneLine(blob)} left`);
      case Command.NewMsg:
        return isTyped && p1 === ownUid ? 0 : print(`${nickOf(p1)}: ${indentLines(blob)}`);
      case Command.LoggedMsg:
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
    else output.notice(`! there is no ${command}; /help lists what there is`);
  };

  return {
    onOpen(session) {
      nicks.clear();
      stage = 'nick';
      sendPacket(session, Command.Nop, 0, Buffer.from(magic));
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
        sendPacket(session, Command.NewMsg, saidRequest, isEscaped ? line.subarray(1) : line);
      }
    },
    printMessage(session, { isText, bytes, start, end }: Message) {
      let lines = 0;
      for (let at = start; at < end; ) {
        const size = isText ? 0 : readPacket(packet, bytes, at, end);
        if (size === 0) {
          output.notice('! the server sent what is no packet');
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

/** Further lines are set in, so that no one can be made to say what they did not. */
function indentLines(text: string): string {
  return terminalSafe(text.replace(/\r?\n/g, '\n    '));
}
