/**
 * The client library for channels, in browsers and in Node 22 or newer. It receives every message once, in order, over whatever
 * the network lets through, and reports a gap if the server no longer keeps some of them.
 */
import { type Feed, openFeed } from './feed.ts';
import { distance, type FeedRecord, type SentMessage, type Target } from './records.ts';

export interface Message {
  /** `EPOCH-SEQ`. */
  readonly id: string;
  readonly channel: string;
  /** What was published: the value of JSON, a string for text, a Uint8Array for bytes. */
  readonly data: unknown;
  /** The event's name, if the publisher gave one. */
  readonly event?: string;
  /** The speaker in a room of the chat. */
  readonly from?: string;
}

/** An exception in a callback is reported, and the subscription continues. */
export interface Callbacks {
  message?(message: Message): void;
  /** Some messages of these channels are lost, as the server no longer keeps them: load the current state again. */
  gap?(channels: readonly string[]): void;
  /**
   * @param detail the transport (`websocket`, `eventsource` or `polling`) if `open`; empty if `connecting`; the server's reason if
   * `closed`: it refused the subscription, which has ended
   */
  state?(state: 'connecting' | 'open' | 'closed', detail: string): void;
}

export interface Options {
  /** The server, such as `https://push.example.com`. In a page, its own origin by default. */
  readonly url?: string;
  /** Identifies the user to the server. A function is called for each connection. */
  readonly token?: string | (() => string | Promise<string>);
  /** Share one connection with the other tabs of this browser that have the same `url`. All of them need the same rights. */
  readonly shared?: boolean;
  /** Start after this id of a message or cursor of a long poll; otherwise start now. */
  readonly after?: string;
}

export interface Subscription {
  /** Ends the subscription: no callback is called again. */
  close(): void;
}

/** What tabs post to each other: the records of the one that has the connection, and requests to it. */
type Post = FeedRecord | { readonly join: string };

// One name for four uses: the minified library has at most 4,096 bytes.
const globals = globalThis;

function call<Values extends unknown[]>(callback?: (...values: Values) => void, ...values: Values): void {
  try {
    callback?.(...values);
  } catch (error) {
    // Node has no reportError.
    (globals.reportError ?? console.error)(error);
  }
}

/**
 * Subscribes to channels: at most 100, in all tabs together if `shared`.
 * @throws TypeError if the URL is invalid
 */
export function subscribe(
  channels: string | readonly string[],
  callbacks: Callbacks,
  options: Options = {},
): Subscription {
  const own = [channels].flat();
  const base = new URL(options.url ?? '/', globals.location?.href).href.replace(
    /\/*$/,
    '/channels?format=json&',
  );
  /** Everything up to here has been delivered; empty before the start. */
  let cursor = options.after ?? '';
  /** Whether everything after the cursor arrives. */
  let isSynced = false;
  /** Whether the next gap was before the start. */
  let isNew = false;
  let state = '';
  /** Undefined if another tab has the connection. */
  let feed: Feed | undefined;
  let bus: BroadcastChannel | undefined;
  const end = new AbortController();
  const { signal } = end;

  const setState: typeof callbacks.state = (next, detail) => {
    if (state === next + detail) return;
    state = next + detail;
    call(callbacks.state, next, detail);
  };

  const join = (): void => {
    if (feed) feed.include(cursor);
    else bus?.postMessage({ join: cursor });
  };

  const deliver = ({ base64, ...message }: SentMessage): void => {
    const { data = Uint8Array.from(atob(base64!), byte => byte.charCodeAt(0)) } = message;
    if (own.includes(message.channel)) call(callbacks.message, { ...message, data });
  };

  const receive = (record: FeedRecord): void => {
    if (signal.aborted) return;
    if ('connecting' in record) return setState('connecting', '');
    if ('opened' in record) {
      const { opened, last } = record;
      isNew = !cursor && !!last;
      cursor ||= last || opened;
      const ahead = distance(opened, cursor);
      // NaN: the cursor is of another log than the connection, which has other tabs.
      if (!isNew && !(ahead > 0 || ahead <= 0)) {
        cursor = opened;
        call(callbacks.gap, own);
      }
      isSynced = own.every(name => record.channels.includes(name)) && !(ahead > 0);
      return isSynced ? setState('open', record.transport) : join();
    }
    if (!isSynced) return;
    if ('gap' in record) {
      const lost = record.gap.filter(name => own.includes(name));
      if (!isNew) {
        cursor = record.last || cursor;
        if (lost[0]) call(callbacks.gap, lost);
      }
    } else {
      const id = 'id' in record ? record.id : record.last;
      // Not newer: received before.
      if (distance(id, cursor) <= 0) return;
      cursor = id;
      if ('id' in record) deliver(record);
    }
    isNew = false;
  };

  const target = async (names: readonly string[], isWebSocket: boolean): Promise<Target> => {
    const { token } = options;
    const value = typeof token === 'function' ? await token() : token;
    const query = new URLSearchParams(names.map(name => ['c', name]));
    // A URL may be logged on its way; a message is not.
    if (value) query.set(isWebSocket ? 'await' : 'token', isWebSocket ? 'token' : value);
    return [base + query, value];
  };

  const lead = (listChannels: () => readonly string[] | Promise<readonly string[]>): void => {
    const emit = (record: FeedRecord): void => {
      bus?.postMessage(record);
      receive(record);
    };
    const refused = (reason: string): void => {
      setState('closed', reason);
      close();
    };
    feed = openFeed(listChannels, target, emit, refused, cursor);
  };

  const wake = ({ type }: Event): void => {
    if (feed) feed.wake(/line/.test(type));
    else join();
  };

  function close(): void {
    end.abort();
    feed?.close();
    bus?.close();
    bus = undefined;
  }

  const share = (locks: LockManager): void => {
    const name = `pollywog ${base}`;
    const closed = new Promise(resolve => {
      signal.onabort = resolve;
    });
    bus = new BroadcastChannel(name);
    bus.onmessage = ({ data }: MessageEvent<Post>) => {
      if ('join' in data) {
        feed?.include(data.join);
        feed?.wake(false);
      } else receive(data);
    };
    // The name of this lock lists the channels of this tab for as long as the tab lives.
    locks.request(name + JSON.stringify(own), { mode: 'shared' }, () => {
      join();
      return closed;
    });
    const listChannels = async (): Promise<string[]> => {
      const listOf = (lock: LockInfo): string[] => JSON.parse(lock.name!.split(name)[1] || '[]');
      return [...new Set([own, ...(await locks.query()).held!.map(listOf)].flat())];
    };
    const leading = locks.request(name, { signal }, () => {
      lead(listChannels);
      return closed;
    });
    leading.catch(() => {});
  };

  queueMicrotask(() => receive({ connecting: true }));
  const locks = globals.navigator?.locks;
  if (options.shared && locks) share(locks);
  else lead(() => own);
  for (const type of ['online', 'offline', 'visibilitychange']) {
    globals.addEventListener?.(type, wake, { signal });
  }
  return { close };
}
