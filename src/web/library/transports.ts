/** Three ways to receive, the best first. */
import type { Gap, SentMessage, Target, Transport } from './records.ts';

/**
 * What a transport reports. First comes the server's cursor when the connection opened. An empty record, or a field that is not
 * listed here, only shows that the connection is alive.
 */
export type Received = Partial<SentMessage & Gap> & { readonly last?: string | undefined };

/**
 * Runs a connection: resolves or rejects when it has ended. A refusal is an Error that begins with the status.
 * @param after `&after=` and the cursor to resume at; empty to start now
 * @param setPing takes a function that requests an answer, if the transport has one
 */
export type Run = (
  target: Target,
  after: () => string,
  signal: AbortSignal,
  receive: (record: Received) => void,
  setPing: (ping: () => void) => void,
) => Promise<unknown>;

async function get(url: string, signal: AbortSignal, headers = {}): Promise<Response> {
  const response = await fetch(url, { signal, headers });
  if (!response.ok) throw Error(`${response.status} ${await response.text()}`);
  return response;
}

const webSocket: Run = ([url, token], after, signal, receive, setPing) =>
  new Promise(resolve => {
    const socket = new WebSocket(url.replace('http', 'ws') + after());
    signal.onabort = () => socket.close();
    socket.onopen = () => token && socket.send(JSON.stringify({ token }));
    socket.onclose = resolve;
    // The package `ws`, a common substitute in Node 20, throws if `error` has no listener.
    socket.onerror = resolve;
    socket.onmessage = ({ data }) => receive(JSON.parse(data));
    // The server answers it with an error, as it is no command.
    setPing(() => socket.send('{}'));
  });

/** The stream that EventSource reads. `fetch` shows what EventSource hides: heartbeats, and ids without a message. */
const eventStream: Run = async ([url], after, signal, receive) => {
  const response = get(url + after(), signal, { Accept: 'text/event-stream' });
  const reader = (await response).body!.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ''; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split('\n\n');
    rest = events.pop()!;
    for (const event of events) {
      // The lines of data are the last ones.
      const [fields, ...data] = event.split(/^data:/m);
      receive(data[0] ? JSON.parse(data.join('')) : { last: /^id: (.+)/m.exec(fields!)?.[1] });
    }
  }
};

const longPoll: Run = async ([url], after, signal, receive) => {
  for (let query = '&last=0'; ; query = after()) {
    const { gap, messages, last } = await (await get(url + query, signal)).json();
    for (const record of [{ gap }, ...messages, { last }]) receive(record);
  }
};

export const transports: readonly (readonly [Transport, Run])[] = [
  ['websocket', webSocket],
  ['eventsource', eventStream],
  ['polling', longPoll],
];
