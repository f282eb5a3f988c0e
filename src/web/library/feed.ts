/** One connection to the server that is resumed whenever it is lost, by the best transport that works. */
import { distance, type FeedRecord, type Target, type Transport } from './records.ts';
import { type Received, type Run, transports } from './transports.ts';

/** Milliseconds for the server's answer to a new connection, or to a ping. */
const answerTimeout = 10_000;
/** Milliseconds after which a better transport is tried again. */
const upgradeInterval = 300_000;
/**
 * Milliseconds of silence before a WebSocket is pinged. Browsers do not show the server's pings, and notice a dead connection only
 * when they send.
 */
const pingInterval = 30_000;
/** Milliseconds of silence before a stream or a poll is opened again. The server's `--ping-interval` is 25 s by default. */
const maxSilence = 60_000;
/** The longest wait after a failure, in milliseconds: 1 s after the first, and twice as much after each other, up to this. */
const maxBackoff = 30_000;

/** An error of a transport: the same request would be refused again. */
const refusal = /^Error: (40[0134] .*)/;

export interface Feed {
  /**
   * Connects at once if it was waiting, and checks an open connection that was silent.
   * @param isNewNetwork whether an open connection is probably dead
   */
  wake(isNewNetwork: boolean): void;
  /** Emits `opened` for all channels of the source, and then everything after this cursor, if it is not empty. */
  include(cursor: string): Promise<void>;
  close(): void;
}

/** Keeps the index of the transport that worked for the next page of this site. */
let memory: Record<string, unknown> = {};
try {
  memory = sessionStorage;
} catch {
  // Node has no storage, and a page may be denied it.
}

/**
 * @param listChannels called for each connection, as is `findTarget`
 * @param refused called if the server refuses the subscription, which ends the feed
 * @param position the cursor to start after; empty to start now
 */
export function openFeed(
  listChannels: () => Promise<readonly string[]> | readonly string[],
  findTarget: (channels: readonly string[], isWebSocket: boolean) => Promise<Target>,
  emit: (record: FeedRecord) => void,
  refused: (reason: string) => void,
  position: string,
): Feed {
  let isClosed = false;
  let failures = 0;
  let attempt = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** Of the last connection. */
  let channels: readonly string[] = [];
  let transport: Transport;
  /** 0 unless the connection is open. */
  let openedAt = 0;
  let heardAt = 0;
  // One name for three calls: the minified library has at most 4,096 bytes.
  const now = Date.now;
  let check: () => void;

  const emitOpened = (last: string): void => emit({ opened: position, channels, transport, last });

  const within = (time: number, action: () => void): void => {
    clearTimeout(timer);
    timer = setTimeout(action, time);
  };

  /** @param next the transport's index; by default that of the one that worked */
  const connect = async (next = ~~(memory['pollywog'] as number)): Promise<void> => {
    if (isClosed) return;
    attempt.abort();
    attempt = new AbortController();
    openedAt = 0;
    const { signal } = attempt;
    let run: Run;
    let start: string;
    let ping: (() => void) | undefined;
    [transport, run] = transports[next]!;

    const ended = (error?: unknown): void => {
      if (signal.aborted) return;
      attempt.abort();
      if (openedAt) {
        // Stable; otherwise the waits between short connections fall to 2 s.
        failures = now() - openedAt > answerTimeout ? 0 : failures / 2;
      } else {
        if (next < 2) return void connect(next + 1);
        // Only the last transport decides: a proxy may refuse the others with the same status.
        const reason = refusal.exec(`${error}`)?.[1];
        if (reason) return refused(reason);
        memory['pollywog'] = 0;
      }
      openedAt = 0;
      emit({ connecting: true });
      // Jitter: many pages lose the same server at once and must not all return at once.
      within(Math.random() * Math.min(maxBackoff, 1000 * 2 ** failures++), connect);
    };

    const receive = (record: Received): void => {
      const { gap, last, id = last } = record;
      if (signal.aborted || !(openedAt || last)) return;
      heardAt = now();
      if (!openedAt) {
        openedAt = heardAt;
        memory['pollywog'] = next;
        start = last!;
        position ||= start;
        emitOpened(start);
      } else if (gap) {
        // The server has lost the end of its log, or has a new one: the next connection must not report this gap again.
        const ahead = distance(position, start);
        const beginning = ahead <= 0 ? '' : ahead ? start : start.replace(/\d+$/, '0');
        position = beginning || position;
        emit({ gap, last: beginning });
      } else if (id) {
        // An event stream says where the log ends only after the gap.
        if (distance(id, position) < 0) emit({ gap: [], last: id });
        position = id;
        emit(record as FeedRecord);
      }
      if (next && heardAt - openedAt > upgradeInterval) connect(0);
      else within(ping ? pingInterval : maxSilence, check);
    };

    check = () => {
      if (ping) {
        within(answerTimeout, ended);
        ping();
      } else connect(0);
    };
    within(answerTimeout, ended);
    try {
      const names = await listChannels();
      const target = await findTarget(names, !next);
      if (signal.aborted) return;
      channels = names;
      const after = () => position && `&after=${position}`;
      await run(target, after, signal, receive, sendPing => {
        ping = sendPing;
      });
      ended();
    } catch (error) {
      ended(error);
    }
  };
  connect();

  return {
    wake(isNewNetwork) {
      if (!openedAt) connect();
      else if (isNewNetwork || now() - heardAt > pingInterval) check();
    },
    async include(cursor) {
      const wanted = await listChannels();
      // The server says of a cursor of another log only that something is missing, which the tab knows itself.
      const isOlder = cursor && (!position || distance(cursor, position) < 0);
      if (isOlder) position = cursor;
      if (isOlder || !wanted.every(channel => channels.includes(channel))) connect();
      else if (openedAt) emitOpened('');
    },
    close() {
      isClosed = true;
      attempt.abort();
      clearTimeout(timer);
    },
  };
}
