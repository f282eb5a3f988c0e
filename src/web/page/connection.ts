/** One WebSocket to the server, made anew whenever it is lost. */
import { decodePackets, type Packet } from './packets.ts';

/** Times in milliseconds. The wait doubles from the shortest to the longest. */
const shortestWait = 500;
const longestWait = 15_000;
/** For an answer, or for a connection to open. */
const patience = 10_000;
/** After so much silence it is asked whether anyone is still there. Proxies tend to drop a connection at 60 s. */
const silence = 30_000;

export interface ConnectionEvents {
  opened(): void;
  received(packet: Packet): void;
  /** Nothing came for a while: send something that is answered. */
  silent(): void;
  connecting(): void;
  /** @param retryAt when it will be tried again, as Date.now() counts */
  lost(retryAt: number): void;
}

export interface Connection {
  /** Only between `opened` and `lost`. It has to be something that is answered: no answer, and the connection is lost. */
  send(bytes: Uint8Array<ArrayBuffer>): void;
  /** Now is a good moment: connects at once where it waits, and sees whether an open connection still lives. */
  wake(): void;
  /** Gives this connection up and makes another, after a wait. */
  retry(): void;
  /** All is well: the next wait is a short one again. */
  settle(): void;
  /** For good. No event comes after it. */
  end(): void;
}

export function connect(url: URL, events: ConnectionEvents): Connection {
  let socket: WebSocket | undefined;
  let failures = 0;
  let isAwaited = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const after = (time: number, action: () => void): void => {
    clearTimeout(timer);
    timer = setTimeout(action, time);
  };

  const awaitAnswer = (): void => {
    // What was sent first is answered first, so later ones must not lengthen the wait.
    if (!isAwaited) after(patience, retry);
    isAwaited = true;
  };

  const drop = (): void => {
    clearTimeout(timer);
    const dropped = socket;
    socket = undefined;
    dropped?.close();
  };

  const retry = (): void => {
    drop();
    // Many pages lose the same server at once: they should not all come back at once.
    const wait = shortestWait * 2 ** failures++ * (0.75 + Math.random() / 2);
    const bounded = Math.max(shortestWait, Math.min(wait, longestWait));
    after(bounded, open);
    events.lost(Date.now() + bounded);
  };

  const open = (): void => {
    const opening = new WebSocket(url, 'tpacket');
    socket = opening;
    opening.binaryType = 'arraybuffer';
    isAwaited = false;
    awaitAnswer();
    const ifCurrent = (action: (event: Event) => void) => (event: Event) => {
      if (socket === opening) action(event);
    };
    opening.onopen = ifCurrent(() => events.opened());
    opening.onclose = ifCurrent(retry);
    opening.onmessage = event => {
      if (socket !== opening) return;
      isAwaited = false;
      after(silence, events.silent);
      try {
        for (const packet of decodePackets(event.data as ArrayBuffer)) {
          // One packet may end it for those behind it.
          if (socket === opening) events.received(packet);
        }
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        retry();
      }
    };
    events.connecting();
  };

  open();
  return {
    send(bytes) {
      socket?.send(bytes);
      awaitAnswer();
    },
    wake() {
      if (socket === undefined) {
        clearTimeout(timer);
        open();
      } else if (!isAwaited) {
        events.silent();
      }
    },
    retry,
    settle() {
      failures = 0;
    },
    end: drop,
  };
}
