/** A WebSocket to the server that reconnects whenever it is lost. If WebSockets are blocked, it falls back to long polling. */
import { decodePackets, type Packet } from './packets.ts';
import { type Link, openPolling } from './polling.ts';

/** Milliseconds before the first and the last retries; the wait doubles in between. */
const minBackoff = 500;
const maxBackoff = 15_000;
/** Milliseconds to wait for an answer, or for long polling to open. */
const answerTimeout = 10_000;
/** Milliseconds for a WebSocket to open before long polling is tried. */
const webSocketTimeout = 4_000;
/** Milliseconds without input before the server is probed. Many proxies drop idle connections after 60 s. */
const idleTime = 30_000;
/** The close codes of a refusal: the next attempt would be refused, too. */
const refusals: readonly number[] = [4401, 4403];

export interface ConnectionEvents {
  opened(): void;
  received(packet: Packet): void;
  /** Nothing was received for a while: send something that the server answers. */
  idle(): void;
  connecting(): void;
  /** @param retryAt `Date.now()` of the next attempt */
  lost(retryAt: number): void;
  /** The server does not let this client in, or no longer: the connection has ended for good. @param reason a sentence */
  refused(reason: string): void;
}

export interface Connection {
  /** Only between `opened` and `lost`. The server must answer the message: without an answer the connection counts as lost. */
  send(bytes: Uint8Array<ArrayBuffer>): void;
  /** Reconnects at once if it was waiting, and probes an open connection. */
  wake(): void;
  /** Drops this connection and opens another after the backoff. */
  retry(): void;
  /** Everything works: the next backoff is short again. */
  resetBackoff(): void;
  /** Ends the connection for good; no events follow. */
  end(): void;
  /** Empty for a WebSocket, otherwise in words. */
  transport(): string;
}

/** @param page the address of the page */
export function connect(page: string, events: ConnectionEvents): Connection {
  const url = new URL('tpacket', page);
  url.protocol = url.protocol.replace('http', 'ws');
  url.search = url.hash = '';
  const pollingUrl = new URL('poll/', page);
  let socket: Link | undefined;
  let failures = 0;
  /** Each attempt starts with a WebSocket, and falls back to long polling if nothing was received. */
  let isPolling = false;
  let hasReceived = false;
  let isAnswerDue = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const after = (time: number, action: () => void): void => {
    clearTimeout(timer);
    timer = setTimeout(action, time);
  };

  const expectAnswer = (): void => {
    // Answers come in order: a later message must not extend the timeout of an earlier one.
    if (!isAnswerDue) after(answerTimeout, failed);
    isAnswerDue = true;
  };

  const drop = (): void => {
    clearTimeout(timer);
    const dropped = socket;
    socket = undefined;
    dropped?.close();
  };

  /** The link could not be opened, or was lost. */
  const failed = (): void => {
    drop();
    if (isPolling || hasReceived) return retry();
    isPolling = true;
    openLink();
  };

  const retry = (): void => {
    drop();
    isPolling = false;
    // Jitter: many pages lose the same server at once and must not all return at once.
    const wait = minBackoff * 2 ** failures++ * (0.75 + Math.random() / 2);
    const bounded = Math.max(minBackoff, Math.min(wait, maxBackoff));
    after(bounded, openLink);
    events.lost(Date.now() + bounded);
  };

  const openLink = (): void => {
    try {
      useLink(isPolling ? openPolling(pollingUrl, 'tpacket') : openSocket());
    } catch {
      // Some environments have no WebSocket at all.
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
    hasReceived = false;
    after(isPolling ? answerTimeout : webSocketTimeout, failed);
    isAnswerDue = true;
    opening.onopen = () => {
      if (socket !== opening) return;
      isAnswerDue = false;
      events.opened();
    };
    opening.onclose = ({ code, reason }) => {
      if (socket !== opening) return;
      if (!refusals.includes(code)) return failed();
      drop();
      events.refused(reason);
    };
    opening.onmessage = event => {
      if (socket !== opening) return;
      isAnswerDue = false;
      hasReceived = true;
      after(idleTime, events.idle);
      try {
        for (const packet of decodePackets(event.data as ArrayBuffer)) {
          // Handling one packet may end the link.
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
      expectAnswer();
    },
    wake() {
      if (socket === undefined) {
        clearTimeout(timer);
        openLink();
      } else if (!isAnswerDue) {
        events.idle();
      }
    },
    retry,
    resetBackoff() {
      failures = 0;
    },
    end: drop,
    transport: () => (isPolling ? 'by long polling' : ''),
  };
}
