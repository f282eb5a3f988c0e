/** One person in one room: gets in, gets in again after every loss, and passes on what is said. */
import { type Connection, connect } from './connection.ts';
import { Command, encodePacket, magicPacket, type Packet, withTimes } from './packets.ts';
import type { Logged } from './room.ts';

/**
 * A nick may still be held by our own last connection. How long to allow for it, in milliseconds: one that was closed is
 * soon forgotten, but that one was lost a server finds out by its pings.
 */
const closedPatience = 5_000;
const lostPatience = 90_000;

export interface SessionEvents {
  connecting(): void;
  /** @param retryAt as Date.now() counts */
  lost(retryAt: number): void;
  /**
   * In the room, for the first time or again.
   * @param logged what the room remembers
   * @param way how we are connected, where that is not as usual: `by long polling`
   */
  entered(logged: readonly Logged[], way: string): void;
  /** @param people nicks by user; live: later changes are in it */
  roster(people: ReadonlyMap<number, string>): void;
  heard(nick: string, text: string): void;
  /** The server says something, here or to everyone. */
  announced(said: Logged): void;
  /** What `say` sent under this uid was refused. */
  refused(uid: number, sentence: string): void;
  /** The session has ended: it could not get in. */
  turnedAway(field: 'nick' | 'room', sentence: string): void;
}

export interface Session {
  /** Only between `entered` and `lost`. @returns the uid by which it may be refused */
  say(text: string): number;
  wake(): void;
  end(): void;
}

/** @param wasHere whether the nick may still be held by a connection of ours */
export function startSession(nick: string, room: string, wasHere: boolean, events: SessionEvents): Session {
  let people = new Map<number, string>();
  let logged: Logged[] = [];
  /** What comes while we enter, behind the history. */
  let held: Packet[] = [];
  let isIn = false;
  let nickPatience = wasHere ? closedPatience : 0;
  let heldSince: number | undefined;
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

  const turnAway = (field: 'nick' | 'room', sentence: string): void => {
    link.end();
    events.turnedAway(field, sentence);
  };

  const nickAnswered = (error: string | undefined): void => {
    if (error === undefined) {
      ask(Command.SetRoom, room, sentence => sentence !== undefined && turnAway('room', sentence));
      askWhetherAlive(finishEntering);
      return;
    }
    heldSince ??= Date.now();
    if (Date.now() - heldSince < nickPatience) link.retry();
    else turnAway('nick', error);
  };

  /**
   * The history has no end of its own, and a NOP is not answered. A second nick is: it is refused, which does no harm,
   * and the answer comes behind everything that was to come before.
   */
  const askWhetherAlive = (answered: () => void): void => ask(Command.SetUserNick, nick, answered);

  const finishEntering = (): void => {
    isIn = true;
    nickPatience = lostPatience;
    heldSince = undefined;
    link.settle();
    events.roster(people);
    events.entered(logged, link.way());
    for (const packet of held) receive(packet);
    held = [];
  };

  const receive = (packet: Packet): void => {
    const { command, uid, p1, time, blob } = packet;
    const answered = answers.get(uid);
    if (command === Command.RespOk || command === Command.RespError) {
      answers.delete(uid);
      const sentence = blob === '' ? 'the server refused it' : blob;
      const error = command === Command.RespError ? sentence : undefined;
      if (answered !== undefined) answered(error);
      else if (error !== undefined) events.refused(uid, error);
    } else if (!isIn && command === Command.LoggedMsg && time > 0) {
      logged.push({ entry: blob, time: time * 1000 });
    } else if (!isIn && command !== Command.NewUser) {
      held.push(packet);
    } else if (command === Command.LoggedMsg) {
      events.announced({ entry: blob, time: time > 0 ? time * 1000 : undefined });
    } else if (command === Command.NewMsg) {
      events.heard(people.get(p1) ?? 'someone', blob);
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
      logged = [];
      held = [];
      isIn = false;
      link.send(magicPacket);
      ask(Command.SetUserNick, nick, nickAnswered, withTimes);
    },
    received: receive,
    silent: () => isIn && askWhetherAlive(() => {}),
    lost(retryAt) {
      isIn = false;
      events.lost(retryAt);
    },
  });

  return { say: text => send(Command.NewMsg, text), wake: link.wake, end: link.end };
}
