/** The original client's model of a room. It fails if the server mentions a user that it has not announced. */
import { PacketCommand } from '../../src/protocol/tpacket.ts';
import type { ChatClient, ChatPacket } from './chatClient.ts';

export interface OriginalModel {
  /** The users in the room by uid. */
  readonly users: ReadonlyMap<number, string>;
  /** The LOGGED_MSGs as they are, then `uid: text` of each NEW_MSG, in order. */
  readonly messages: string[];
  readonly logged: string[];
  /** The number of RESP_ERRORs. */
  readonly refusals: string[];
  /** The number of packets so far. */
  count(): number;
  /** The server's first fault, if there was one. */
  fault(): Error | undefined;
  /** Resolves when `isSo`, which is called after each packet, or at the end of the stream. */
  until(isSo: () => boolean): Promise<void>;
}

/** Feeds the client's packets to a model from now on. */
export function watch(client: ChatClient): OriginalModel {
  const users = new Map<number, string>();
  const messages: string[] = [];
  const logged: string[] = [];
  const refusals: string[] = [];
  let count = 0;
  let fault: Error | undefined;
  let wake = () => {};
  const fail = (what: string, { p1, blob }: ChatPacket) => {
    fault ??= new Error(`${client.name}: ${what}, ${p1} ${JSON.stringify(blob.toString())}, packet ${count}`);
  };
  const take = (packet: ChatPacket) => {
    const { cmd, p1, blob } = packet;
    const text = blob.toString();
    count++;
    if (cmd === PacketCommand.NewUser) {
      if (users.has(p1)) fail('NEW_USER of someone who is there', packet);
      users.set(p1, text);
    } else if (cmd === PacketCommand.DelUser) {
      if (users.get(p1) !== text) fail('DEL_USER of someone who is not there', packet);
      users.delete(p1);
    } else if (cmd === PacketCommand.NewMsg) {
      if (!users.has(p1)) fail('NEW_MSG of someone who is not there', packet);
      messages.push(`${p1}: ${text}`);
    } else if (cmd === PacketCommand.LoggedMsg) {
      if (messages.length > 0) fail('LOGGED_MSG after a NEW_MSG', packet);
      logged.push(text);
    } else if (cmd === PacketCommand.RespError) {
      refusals.push(text);
    } else if (cmd !== PacketCommand.RespOk) {
      fail(`cmd ${cmd}`, packet);
    }
    wake();
  };
  for (const packet of client.pending.splice(0)) take(packet);
  client.onPacket = take;
  void client.ended.then(() => wake());
  return {
    users,
    messages,
    logged,
    refusals,
    count: () => count,
    fault: () => fault,
    async until(isSo) {
      while (!isSo() && !client.isOver()) {
        await new Promise<void>(resolve => {
          wake = resolve;
        });
      }
    },
  };
}
