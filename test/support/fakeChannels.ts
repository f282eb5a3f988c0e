/**
 * A server of channels without sockets: the `WebSocket` and `fetch` of a client that speak the formats of /channels. It can block
 * a transport, break connections, go down, refuse, and forget messages.
 */
import type { Transport } from '../../src/web/library/records.ts';

interface Published {
  readonly seq: number;
  readonly channel: string;
  readonly content: object;
}

interface Subscriber {
  readonly transport: Transport;
  readonly url: URL;
  readonly channels: readonly string[];
  send(record: object, id?: string): void;
  /** The connection is broken. */
  drop(): void;
}

export interface FakeChannels {
  /** Names the log: a change is a server that has lost it. */
  epoch: string;
  lastSeq: number;
  /** Transports that never open: `refused` at once, `silent` without an answer. */
  readonly blocked: Map<Transport, 'refused' | 'silent'>;
  /** The status of every answer, and its text; undefined to serve. */
  refusal: { status: number; text: string } | undefined;
  isDown: boolean;
  /** Connections stay open, but nothing arrives any more. */
  isFrozen: boolean;
  /** The newest number of a channel that is not kept. */
  readonly forgotten: Map<string, number>;
  readonly subscribers: Set<Subscriber>;
  /** Every connection and request, as `websocket /channels?…`. */
  readonly requests: string[];
  /** What clients sent over WebSockets. */
  readonly sent: string[];
  /** @param content `{ data }` or `{ base64 }`, and `event` or `from` */
  publish(channel: string, content: object): string;
  /** Breaks all connections. */
  drop(): void;
  /** Loses the log. */
  restart(epoch: string): void;
  readonly WebSocket: typeof WebSocket;
  readonly fetch: typeof fetch;
}

export function newFakeChannels(): FakeChannels {
  let log: Published[] = [];
  const idOf = (seq: number) => `${its.epoch}-${seq}`;
  const form = ({ seq, channel, content }: Published) => ({ id: idOf(seq), channel, ...content });

  /** What a client with this cursor gets first. */
  const missed = (channels: readonly string[], url: URL): { gap: string[]; kept: Published[] } => {
    const after = url.searchParams.get('after');
    if (after === null) return { gap: [], kept: [] };
    const [epoch, number] = after.split('-');
    const seq = epoch === its.epoch ? Number(number) : -1;
    if (seq > its.lastSeq) return { gap: [...channels], kept: [] };
    const isKept = (message: Published) => message.seq > (its.forgotten.get(message.channel) ?? 0);
    return {
      gap: channels.filter(channel => seq < (its.forgotten.get(channel) ?? 0)),
      kept: log.filter(one => one.seq > seq && channels.includes(one.channel) && isKept(one)),
    };
  };

  const admit = (subscriber: Subscriber): void => {
    const { gap, kept } = missed(subscriber.channels, subscriber.url);
    its.subscribers.add(subscriber);
    if (gap.length > 0) subscriber.send({ gap });
    for (const message of kept) subscriber.send(form(message), idOf(message.seq));
  };

  const note = (transport: Transport, url: URL) =>
    its.requests.push(`${transport} ${url.pathname}${url.search}`);
  const channelsOf = (url: URL) => url.searchParams.getAll('c');

  class FakeWebSocket {
    onopen: (() => void) | undefined;
    onmessage: ((event: { data: string }) => void) | undefined;
    onclose: (() => void) | undefined;
    onerror: (() => void) | undefined;
    private readonly subscriber: Subscriber;

    constructor(address: string) {
      const url = new URL(address);
      if (url.protocol !== 'ws:') throw new Error(`${address} is not a WebSocket URL`);
      const channels = channelsOf(url);
      const transport = 'websocket';
      note(transport, url);
      const send = (record: object) => {
        if (!its.isFrozen && this.isOpen) this.onmessage?.({ data: JSON.stringify(record) });
      };
      const drop = () => this.end();
      this.subscriber = { transport, url, channels, send, drop };
      queueMicrotask(() => {
        if (its.blocked.get(transport) === 'silent') return;
        if (its.isDown || its.blocked.has(transport) || its.refusal) {
          this.onerror?.();
          return this.end();
        }
        this.onopen?.();
        if (!url.searchParams.has('await')) this.begin();
      });
    }

    private begin(): void {
      this.subscriber.send({ last: idOf(its.lastSeq) });
      admit(this.subscriber);
    }

    private isOpen = true;

    send(text: string): void {
      its.sent.push(text);
      if (text.startsWith('{"token":')) {
        this.subscriber.send({ ok: { token: 'a user' } });
        return this.begin();
      }
      this.subscriber.send({ error: 'send one of "subscribe", "unsubscribe" and "publish"' });
    }

    close(): void {
      this.end();
    }

    private end(): void {
      if (!this.isOpen) return;
      this.isOpen = false;
      its.subscribers.delete(this.subscriber);
      queueMicrotask(() => this.onclose?.());
    }
  }

  const answer = (value: object) => new Response(JSON.stringify(value));

  const stream = (url: URL, signal: AbortSignal): Response => {
    let controller: ReadableStreamDefaultController<Uint8Array>;
    const channels = channelsOf(url);
    const write = (text: string) => {
      if (!its.isFrozen && !signal.aborted) controller.enqueue(new TextEncoder().encode(text));
    };
    const subscriber: Subscriber = {
      transport: 'eventsource',
      url,
      channels,
      send(record, id) {
        const event = 'gap' in record ? 'gap' : (record as { event?: string }).event;
        const data = JSON.stringify(record, undefined, 1).replaceAll('\n', '\ndata: ');
        write(`${id ? `id: ${id}\n` : ''}${event ? `event: ${event}\n` : ''}data: ${data}\n\n`);
      },
      drop() {
        if (its.subscribers.delete(subscriber) && !signal.aborted)
          controller.error(new TypeError('terminated'));
      },
    };
    signal.addEventListener('abort', () => {
      its.subscribers.delete(subscriber);
      controller.error(signal.reason);
    });
    const body = new ReadableStream<Uint8Array>({
      start(its) {
        controller = its;
      },
    });
    // In pieces, as it may arrive.
    write('retry: 250\nid: ');
    write(`${url.searchParams.get('after') ?? idOf(its.lastSeq)}\n`);
    write('\n:\n\n');
    admit(subscriber);
    // Caught up.
    write(`id: ${idOf(its.lastSeq)}\n\n`);
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
  };

  const poll = async (url: URL, signal: AbortSignal): Promise<Response> => {
    const channels = channelsOf(url);
    const { gap, kept } = missed(channels, url);
    const last = () => idOf(its.lastSeq);
    const isFull = gap.length + kept.length > 0 || url.searchParams.has('last');
    if (isFull) return answer({ ...(gap.length > 0 && { gap }), messages: kept.map(form), last: last() });
    return new Promise((resolve, reject) => {
      const subscriber: Subscriber = {
        transport: 'polling',
        url,
        channels,
        send(record) {
          if (its.isFrozen) return;
          its.subscribers.delete(subscriber);
          resolve(answer({ messages: [record], last: last() }));
        },
        drop() {
          its.subscribers.delete(subscriber);
          reject(new TypeError('fetch failed'));
        },
      };
      signal.addEventListener('abort', () => {
        its.subscribers.delete(subscriber);
        reject(signal.reason);
      });
      its.subscribers.add(subscriber);
    });
  };

  const its: FakeChannels = {
    epoch: 'a',
    lastSeq: 0,
    blocked: new Map(),
    refusal: undefined,
    isDown: false,
    isFrozen: false,
    forgotten: new Map(),
    subscribers: new Set(),
    requests: [],
    sent: [],
    publish(channel, content) {
      const message = { seq: ++its.lastSeq, channel, content };
      log.push(message);
      for (const subscriber of [...its.subscribers])
        if (subscriber.channels.includes(channel)) subscriber.send(form(message), idOf(message.seq));
      return idOf(message.seq);
    },
    drop() {
      for (const subscriber of [...its.subscribers]) subscriber.drop();
    },
    restart(epoch) {
      its.epoch = epoch;
      its.lastSeq = 0;
      log = [];
      its.forgotten.clear();
      its.drop();
    },
    WebSocket: FakeWebSocket as unknown as typeof WebSocket,
    async fetch(input, { headers, signal } = {}) {
      signal?.throwIfAborted();
      const url = new URL(String(input));
      const isStream = new Headers(headers).get('accept') === 'text/event-stream';
      const transport = isStream ? 'eventsource' : 'polling';
      note(transport, url);
      if (its.blocked.get(transport) === 'silent') {
        return new Promise((_, reject) => signal!.addEventListener('abort', () => reject(signal!.reason)));
      }
      if (its.isDown) throw new TypeError('fetch failed');
      if (its.blocked.has(transport)) return new Response('blocked by the proxy', { status: 403 });
      if (its.refusal) return new Response(`${its.refusal.text}\n`, { status: its.refusal.status });
      return isStream ? stream(url, signal!) : poll(url, signal!);
    },
  };
  return its;
}
