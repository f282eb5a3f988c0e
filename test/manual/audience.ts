/** A server with a token, a spool and two clients, for the examples that send to everyone. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { type ChatClient, connectMember, hearUntil } from '../support/chatClient.ts';
import { connectRaw, type RawClient } from '../support/rawClient.ts';
import { newWorkshop, runShell, type Workshop } from './examples.ts';

export interface Audience extends Workshop {
  /** A WebSocket client of the echo. */
  readonly listener: RawClient;
  /** A member of the room `pond` in the chat, with the id 3. */
  readonly ada: ChatClient;
  /** Both got the message `text`. */
  hears(text: string): Promise<void>;
}

/** @param start the example that makes the token and starts the server */
export async function newAudience(t: TestContext, start: string): Promise<Audience> {
  const workshop = newWorkshop();
  await runShell(t, workshop, start);
  const { port } = workshop.server!;
  const listener = await connectRaw(port);
  const ada = await connectMember(port, 'ada', 'pond', { path: '/tpacket' });
  await hearUntil(ada, 'NEW_USER uid=-1 p1=4096 p2=0 "ada"');
  t.after(() => {
    listener.destroy();
    ada.socket.destroy();
  });
  return {
    ...workshop,
    listener,
    ada,
    async hears(text) {
      assert.equal((await listener.nextFrame())?.payload.toString(), text);
      assert.equal(await ada.hear(), `LOGGED_MSG uid=-1 p1=0 p2=0 "server: ${text}"`);
    },
  };
}
