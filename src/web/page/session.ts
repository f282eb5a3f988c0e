/** One user in one room: enters it, enters again after each lost connection, and passes on messages. */
import { type Connection, connect } from './connection.ts';
import { Command, encodePacket, magicPacket, type Packet, requestTimes } from './packets.ts';
import type { HistoryLine } from './room.ts';

/**
 * Milliseconds to retry a nick that our own last connection may still have. The server frees it soon after a close, but notices a
 * lost connection only by its pings.
 */
const closedNickWait = 5_000;
const lostNickWait = 90_000;

export interface SessionEvents {
  connecting(): void;
  /** @param retryAt `Date.now()` of the next attempt */
  lost(retryAt: number): void;
  /**
   * We are in the room, for the first time or again.
   * @param history the room's history
   * @param transport empty for a WebSocket, or `by long polling`
   */
  entered(history: readonly HistoryLine[], transport: string): void;
  /** @param people nicks by uid; the map is updated in place */
  roster(people: ReadonlyMap<number, string>): void;
  message(nick: string, text: string): void;
  /** A message of the server, to this room or to everyone. */
  serverMessage(line: HistoryLine): void;
  /** The server refused the line with this uid. */
  lineRejected(uid: number, sentence: string): void;
  /** The session has ended: the server refused the user, the nick or the room. */
  rejected(field: 'nick' | 'room', sentence: string): void;
}

export interface Session {
  /** Only between `entered` and `lost`. @returns the uid of the packet */
  send(text: string): number;
  wake(): void;
  end(): void;
}

/** @param wasHere whether our last connection may still have the nick */
export function startSession(nick: string, room: string, wasHere: boolean, events: SessionEvents): Session {
  let people = new Map<number, string>();
  let history: HistoryLine[] = [];
  /** Packets that arrive behind the history, before we have entered. */
  let queuedPackets: Packet[] = [];
  let isIn = false;
  let nickWait = wasHere ? closedNickWait : 0;
  let nickTakenSince: number | undefined;
  let lastUid = 0;
  let answers = new Map<number, (error: string | undefined) => void>();

  const send = (command: number, blob: string, p2 = 0): number => {
    link.send(encodePacket(command, ++lastUid, blob, p2));
    return lastUid;
  };
  const ask = (
    command: number,
    blob: string,
    answered: (error: string | undefined) => void,
    p2 = 0,
  ): void => {
    answers.set(send(command, blob, p2), answered);
  };

  const reject = (field: 'nick' | 'room', sentence: string): void => {
    link.end();
    events.rejected(field, sentence);
  };

  const nickAnswered = (error: string | undefined): void => {
    if (error === undefined) {
      ask(Command.SetRoom, room, sentence => sentence !== undefined && reject('room', sentence));
      probe(finishEntering);
      return;
    }
    nickTakenSince ??= Date.now();
    if (Date.now() - nickTakenSince < nickWait) link.retry();
    else reject('nick', error);
  };

  /**
   * Requests an answer that arrives behind everything sent before. The history has no end mark and a NOP gets no answer, but a
   * second SET_USER_NICK gets a harmless error.
   */
  const probe = (answered: () => void): void => ask(Command.SetUserNick, nick, answered);

  const finishEntering = (): void => {
    isIn = true;
    nickWait = lostNickWait;
    nickTakenSince = undefined;
    link.resetBackoff();
    events.roster(people);
    events.entered(history, link.transport());
    for (const packet of queuedPackets) receive(packet);
    queuedPackets = [];
  };

  const receive = (packet: Packet): void => {
    const { command, uid, p1, time, blob } = packet;
    const answered = answers.get(uid);
    if (command === Command.RespOk || command === Command.RespError) {
      answers.delete(uid);
      const sentence = blob === '' ? 'the server refused it' : blob;
      const error = command === Command.RespError ? sentence : undefined;
      if (answered !== undefined) answered(error);
      else if (error !== undefined) events.lineRejected(uid, error);
    } else if (!isIn && command === Command.LoggedMsg && time > 0) {
      history.push({ entry: blob, time: time * 1000 });
    } else if (!isIn && command !== Command.NewUser) {
      queuedPackets.push(packet);
    } else if (command === Command.LoggedMsg) {
      events.serverMessage({ entry: blob, time: time > 0 ? time * 1000 : undefined });
    } else if (command === Command.NewMsg) {
      events.message(people.get(p1) ?? 'someone', blob);
    } else if (command === Command.NewUser || command === Command.DelUser) {
      if (command === Command.NewUser) people.set(p1, blob);
      else people.delete(p1);
      if (isIn) events.roster(people);
    }
  };

  const link: Connection = connect(location.href, {
    connecting: events.connecting,
    opened() {
      people = new Map();
      answers = new Map();
      history = [];
      queuedPackets = [];
      isIn = false;
      link.send(magicPacket);
      ask(Command.SetUserNick, nick, nickAnswered, requestTimes);
    },
    received: receive,
    idle: () => isIn && probe(() => {}),
    lost(retryAt) {
      isIn = false;
      events.lost(retryAt);
    },
    refused: reason => events.rejected('nick', reason === '' ? 'the server refused it' : reason),
  });

  return { send: text => send(Command.NewMsg, text), wake: link.wake, end: link.end };
}
