/**
 * Runs a session of npm's ws against a fault and records what the application sees. The application sends a message and, after
 * the answer, a ping and another message. After both answers it waits for further messages, and closes.
 */
import { createRequire } from 'node:module';
import WebSocket from 'ws';

export const wsVersion: string = createRequire(import.meta.url)('ws/package.json').version;

/** A session as the application saw it. */
export interface Reaction {
  /** Why the library refused the handshake. */
  refusal?: string;
  /** The delivered messages; for a long one, its size. */
  readonly messages: string[];
  /** The answer to the ping arrived. */
  hasPong: boolean;
  /** How the session ended; undefined if it was still open, or the application closed it without trouble. */
  end?: string;
}

/** Whether both messages and the ping were answered. */
export function isAnswered({ messages, hasPong }: Reaction): boolean {
  return messages.includes('"one"') && messages.includes('"two"') && hasPong;
}

/** @param patience how many milliseconds the application waits for each event and for the end of the closing handshake */
export function wsReaction(url: string, patience: number): Promise<Reaction> {
  const reaction: Reaction = { messages: [], hasPong: false };
  const client = new WebSocket(url, { handshakeTimeout: patience / 2 });
  let state: 'connecting' | 'open' | 'closing' = 'connecting';
  let timer: NodeJS.Timeout | undefined;
  return new Promise(resolve => {
    const finish = () => {
      clearTimeout(timer);
      client.removeAllListeners();
      // `terminate` reports an error if the handshake is still unanswered.
      client.on('error', () => {});
      client.terminate();
      resolve(reaction);
    };
    const wait = () => {
      clearTimeout(timer);
      if (state !== 'open' || !isAnswered(reaction)) timer = setTimeout(giveUp, patience);
      else timer = setTimeout(close, patience / 4);
    };
    const giveUp = () => {
      if (state === 'closing') reaction.end = 'waits for the close frame';
      finish();
    };
    const close = () => {
      state = 'closing';
      client.close(1000);
      wait();
    };
    client.on('open', () => {
      state = 'open';
      client.send('one');
      wait();
    });
    client.on('message', (data: Buffer, isBinary) => {
      reaction.messages.push(isBinary || data.length > 60 ? `${data.length} bytes` : `"${data}"`);
      if (data.toString() === 'one') {
        client.ping('ping');
        client.send('two');
      }
      wait();
    });
    client.on('pong', data => {
      if (data.toString() === 'ping') reaction.hasPong = true;
      wait();
    });
    client.on('error', ({ message }) => {
      // The rest of the text differs between versions of Node.
      if (state === 'connecting') reaction.refusal = message.replace(/^(Parse Error).*/, '$1');
      else reaction.end ??= `fails: ${message.replace(/^Invalid WebSocket frame: /, '')}`;
    });
    client.on('close', (code, reason) => {
      const isClean = state === 'closing' && code === 1000;
      const words = reason.length === 0 ? '' : ` "${reason}"`;
      if (state !== 'connecting' && !isClean) reaction.end ??= `close ${code}${words}`;
      finish();
    });
    wait();
  });
}
