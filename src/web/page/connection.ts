/** One WebSocket to the server, made anew whenever it is lost; where there can be none, HTTP requests that do the same. */
import { decodePackets, type Packet } from './packets.ts';
import { type Link, openPolling } from './polling.ts';

/** Times in milliseconds. The wait doubles from the shortest to the longest. */
const shortestWait = 500;
const longestWait = 15_000;
/** For an answer, or for a connection to open. */
const patience = 10_000;
/** For a WebSocket to open: then the other way is tried. */
const openPatience = 4_000;
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
  /** How: empty for a WebSocket, else in words. */
  way(): string;
}

/** @param page the address of the page */
export function connect(page: string, events: ConnectionEvents): Connection {
  const url = new URL('tpacket', page);
  url.protocol = url.protocol.replace('http', 'ws');
  url.search = url.hash = '';
  const pollingUrl = new URL('poll/', page);
  let socket: Link | undefined;
  let failures = 0;
  /** Each try begins with a WebSocket. If nothing comes by it, it is tried over HTTP. */
  let isPolling = false;
  let isUseful = false;
  let isAwaited = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const after = (time: number, action: () => void): void => {
    clearTimeout(timer);
    timer = setTimeout(action, time);
  };

  const awaitAnswer = (): void => {
    // What was sent first is answered first, so later ones must not lengthen the wait.
    if (!isAwaited) after(patience, failed);
    isAwaited = true;
  };

  const drop = (): void => {
    clearTimeout(timer);
    const dropped = socket;
    socket = undefined;
    dropped?.close();
  };

  /** It could not be opened, or was lost. */
  const failed = (): void => {
    drop();
    if (isPolling || isUseful) return retry();
    isPolling = true;
    openLink();
  };

  const retry = (): void => {
    drop();
    isPolling = false;
    // Many pages lose the same server at once: they should not all come back at once.
    const wait = shortestWait * 2 ** failures++ * (0.75 + Math.random() / 2);
    const bounded = Math.max(shortestWait, Math.min(wait, longestWait));
    after(bounded, openLink);
    events.lost(Date.now() + bounded);
  };

  const openLink = (): void => {
    try {
      useLink(isPolling ? openPolling(pollingUrl, 'tpacket') : openSocket());
    } catch {
      // Some have no WebSocket at all.
      failed();
    }
  };

  const openSocket = (): Link => {
    const opening = new WebSocket(url, 'tpacket');
    opening.binaryType = 'arraybuffer';
    return opening;
  };

  const useLink = (opening: Link): void => {
    socket = opening;
    isUseful = false;
    after(isPolling ? patience : openPatience, failed);
    isAwaited = true;
    const ifCurrent = (action: (event: Event) => void) => (event: Event) => {
      if (socket === opening) action(event);
    };
    opening.onopen = ifCurrent(() => {
      isAwaited = false;
      events.opened();
    });
    opening.onclose = ifCurrent(failed);
    opening.onmessage = event => {
      if (socket !== opening) return;
      isAwaited = false;
      isUseful = true;
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

  openLink();
  return {
    send(bytes) {
      socket?.send(bytes);
      awaitAnswer();
    },
    wake() {
      if (socket === undefined) {
        clearTimeout(timer);
        openLink();
      } else if (!isAwaited) {
        events.silent();
      }
    },
    retry,
    settle() {
      failures = 0;
    },
    end: drop,
    way: () => (isPolling ? 'by long polling' : ''),
  };
}
