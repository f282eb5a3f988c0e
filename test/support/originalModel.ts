/** What the original client keeps of a room. It throws where the server speaks of someone it never told of. */
import { PacketCommand } from '../../src/protocol/tpacket.ts';
import type { ChatClient, ChatPacket } from './chatClient.ts';

export interface OriginalModel {
  /** Who is there, by uid. */
  readonly users: ReadonlyMap<number, string>;
  /** `uid: text` of each NEW_MSG, in order; and the LOGGED_MSGs before them as they are. */
  readonly messages: string[];
  readonly logged: string[];
  /** RESP_ERRORs. */
  readonly refusals: string[];
  /** Packets that came so far. */
  count(): number;
  /** The first fault of the server's; undefined while there is none. */
  fault(): Error | undefined;
  /** Resolves when `isSo`, which is asked at each packet, or when the stream ends. */
  until(isSo: () => boolean): Promise<void>;
}

/** From now on the client's packets go to the model. */
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
