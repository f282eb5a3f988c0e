/** How npm's ws reacts to faults: what an application sees of a session in which it sends two messages and a ping. */
import { createRequire } from 'node:module';
import WebSocket from 'ws';

export const wsVersion: string = createRequire(import.meta.url)('ws/package.json').version;

/** What an application saw of a session. */
export interface Reaction {
  /** Why the library did not accept the handshake. */
  refusal?: string;
  /** The messages that it delivered; long ones as their size. */
  readonly messages: string[];
  /** The answer to the ping arrived. */
  hasPong: boolean;
  /** How the session ended; undefined: it was still open. */
  end?: string;
}

/** @param patience milliseconds without an event after which a session counts as over */
export function wsReaction(url: string, patience: number): Promise<Reaction> {
  const reaction: Reaction = { messages: [], hasPong: false };
  const client = new WebSocket(url, { handshakeTimeout: patience });
  let isOpen = false;
  return new Promise(resolve => {
    const end = () => {
      clearTimeout(timer);
      client.removeAllListeners();
      // Ending a handshake that was not answered is an error.
      client.on('error', () => {});
      client.terminate();
      resolve(reaction);
    };
    const timer = setTimeout(end, 2 * patience);
    const note = () => timer.refresh();
    client.on('open', () => {
      note();
      isOpen = true;
      client.send('one');
    });
    client.on('message', (data: Buffer, isBinary) => {
      note();
      reaction.messages.push(isBinary || data.length > 60 ? `${data.length} bytes` : `"${data}"`);
      if (reaction.messages.length > 1) return;
      client.ping('ping');
      client.send('two');
    });
    client.on('pong', data => {
      note();
      if (data.toString() === 'ping') reaction.hasPong = true;
    });
    client.on('error', ({ message }) => {
      note();
      if (isOpen) reaction.end ??= message;
      else reaction.refusal = message;
    });
    client.on('close', (code, reason) => {
      const words = reason.length === 0 ? '' : ` "${reason}"`;
      if (isOpen) reaction.end ??= `close ${code}${words}`;
      end();
    });
  });
}
