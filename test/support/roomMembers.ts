/** Users in the chat's lobby, over any wire: they post texts and take the texts of others in order. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { Page } from 'playwright-core';
import { PacketCommand } from '../../src/protocol/tpacket.ts';
import {
  type ChatClient,
  type ChatOptions,
  connectMember,
  magicPacket,
  packetBytes,
  splitPackets,
} from './chatClient.ts';
import { ask, pollMany, pollOnce, post } from './pollClient.ts';

export interface Member {
  readonly nick: string;
  /** False for a terminal, which already shows what its user typed. */
  readonly hearsItself: boolean;
  /** Posts the texts one after the other without waiting for anything. */
  say(texts: readonly string[]): Promise<void>;
  /** Waits for the next `count` texts of the room. @returns those that this user gets */
  heard(count: number): Promise<string[]>;
  leave(): Promise<void>;
}

/** Types a nick and waits to be in the lobby. @param first sent before the nick */
async function enterByLines(
  nick: string,
  input: Readable,
  output: Writable,
  leave: () => Promise<void>,
  first: Uint8Array = Buffer.alloc(0),
): Promise<Member> {
  const lines = createInterface(input)[Symbol.asyncIterator]();
  const untilLine = async (form: RegExp) => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`${nick} was ended before ${form}`);
      const match = form.exec(value);
      if (match !== null) return match[1] ?? '';
    }
  };
  output.write(Buffer.concat([first, Buffer.from(`${nick}\n`)]));
  await untilLine(new RegExp(`^\\* ${nick} is here$`));
  return {
    nick,
    hearsItself: false,
    async say(texts) {
      output.write(texts.map(text => `${text}\n`).join(''));
    },
    async heard(count) {
      const texts: string[] = [];
      while (texts.length < count) texts.push(await untilLine(/^\w+: (.*)$/));
      return texts;
    },
    leave,
  };
}

/** A program at a terminal: `nc`, `openssl s_client`. */
export function enterByProgram(nick: string, program: ChildProcess): Promise<Member> {
  return enterByLines(nick, program.stdout!, program.stdin!, async () => {
    program.stdin!.end('/quit\n');
    if (program.exitCode === null) await once(program, 'exit');
  });
}

/** A socket that sends and receives lines. @param first sent first */
export function enterBySocket(nick: string, socket: Duplex, first?: Uint8Array): Promise<Member> {
  const leave = async () => {
    socket.end('/quit\n');
    if (!socket.closed) await once(socket, 'close');
  };
  return enterByLines(nick, socket, socket, leave, first);
}

/** Packets, over WebSocket or TCP. */
export async function enterByPackets(nick: string, port: number, options: ChatOptions): Promise<Member> {
  const client: ChatClient = await connectMember(port, nick, 'lobby', options);
  return {
    nick,
    hearsItself: true,
    async say(texts) {
      for (const text of texts) client.send(PacketCommand.NewMsg, text);
    },
    async heard(count) {
      const texts: string[] = [];
      while (texts.length < count) {
        const packet = await client.next();
        if (packet === undefined) throw new Error(`${nick} was ended: ${await client.ended}`);
        if (packet.cmd === PacketCommand.NewMsg) texts.push(packet.blob.toString());
      }
      return texts;
    },
    leave: () => client.leave(),
  };
}

/** Long polling. @param session an open one, of `tpacket` */
export async function enterByPolling(nick: string, port: number, session: string): Promise<Member> {
  let [seq, ack] = [0, 0];
  const sayPackets = (...packets: Buffer[]) => post(port, session, Buffer.concat(packets), ++seq);
  await sayPackets(magicPacket, packetBytes(PacketCommand.SetUserNick, nick, { uid: 1 }));
  await sayPackets(packetBytes(PacketCommand.SetRoom, 'lobby', { uid: 2 }));
  // The two answers.
  ack = (await pollMany(port, session, 2)).messages.at(-1)!.seq;
  const waiting: string[] = [];
  return {
    nick,
    hearsItself: true,
    async say(texts) {
      for (const text of texts) await sayPackets(packetBytes(PacketCommand.NewMsg, text));
    },
    async heard(count) {
      while (waiting.length < count) {
        const { messages, closed } = await pollOnce(port, session, ack);
        if (closed !== undefined) throw new Error(`${nick} was ended: ${closed.code} ${closed.reason}`);
        ack = messages.at(-1)?.seq ?? ack;
        for (const { binary } of messages) {
          const { packets } = splitPackets(Buffer.from(binary!, 'base64'));
          for (const { cmd, blob } of packets)
            if (cmd === PacketCommand.NewMsg) waiting.push(blob.toString());
        }
      }
      return waiting.splice(0, count);
    },
    async leave() {
      await ask(port, 'DELETE', session);
    },
  };
}

/** The chat's page in a browser. @param url of the server */
export async function enterByPage(nick: string, page: Page, url: string): Promise<Member> {
  await page.goto(`${url}/?room=lobby&nick=${nick}`);
  await page.locator('#chat').waitFor();
  await page.locator('#roster').getByText(nick).waitFor({ state: 'attached' });
  let taken = 0;
  return {
    nick,
    hearsItself: true,
    async say(texts) {
      for (const text of texts) {
        await page.getByLabel('Message').fill(text);
        await page.getByLabel('Message').press('Enter');
      }
    },
    async heard(count) {
      const isThere = (wanted: number) =>
        document.querySelectorAll('#lines li').length >= wanted &&
        document.querySelector('#lines .waiting') === null;
      await page.waitForFunction(isThere, taken + count);
      const texts = await page.locator('#lines .text').allTextContents();
      const from = taken;
      taken += count;
      return texts.slice(from, taken);
    },
    leave: () => page.close(),
  };
}
