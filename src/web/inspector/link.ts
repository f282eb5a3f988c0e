/** The WebSocket to the server: enters, asks for a token if the server needs one, and reconnects when it is lost. */
import type {
  inspectorSubprotocol,
  PageMessage,
  ServerMessage,
  tokenNeeded,
} from '../../handlers/inspector/messages.ts';

// The compiler compares these with the server's. An import of the values would need the server's file in the browser.
const subprotocol: typeof inspectorSubprotocol = 'pollywog-inspect';
const needsToken: typeof tokenNeeded = 4401;

/** Milliseconds before the first and the last retries; the wait doubles in between. */
const minBackoff = 500;
const maxBackoff = 15_000;
/** The close codes after which another attempt is useless: not admitted, and an invalid message of this page. */
const finalCodes: readonly number[] = [4403, 1008];

export interface LinkEvents {
  /** The server has admitted the page: `welcome`. */
  entered(): void;
  received(message: ServerMessage): void;
  /** The server asks for a token: call `enter`. */
  needsToken(reason: string): void;
  /** @param reason empty if the connection was lost @param retryIn milliseconds until the next attempt; undefined: there is none */
  lost(reason: string, retryIn: number | undefined): void;
}

export interface Link {
  /** Without effect while there is no connection. */
  send(message: PageMessage): void;
  enter(token: string): void;
  retryNow(): void;
}

export function openLink(events: LinkEvents): Link {
  const url = new URL(location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  url.search = url.hash = '';
  let socket: WebSocket | undefined;
  let hasEntered = false;
  /** Kept in memory only, for reconnecting. */
  let token: string | undefined;
  let failures = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const lost = async (reason: string, wasOpen: boolean, retryIn: number): Promise<void> => {
    events.lost(reason, retryIn);
    if (wasOpen) return;
    // A browser does not say why a handshake failed.
    const page = await fetch(url.pathname, { method: 'HEAD' }).catch(() => undefined);
    if (page?.ok === true && socket === undefined)
      events.lost('The server refuses this inspector: close another one', retryIn);
  };

  const connect = (): void => {
    clearTimeout(timer);
    let wasOpen = false;
    const opening = new WebSocket(url, subprotocol);
    socket = opening;
    hasEntered = false;
    opening.onopen = () => {
      wasOpen = true;
      opening.send(JSON.stringify({ type: 'enter', ...(token === undefined ? {} : { token }) }));
    };
    opening.onmessage = ({ data }) => {
      const message: ServerMessage = JSON.parse(data);
      if (message.type === 'welcome') {
        hasEntered = true;
        failures = 0;
        events.entered();
      }
      events.received(message);
    };
    opening.onclose = ({ code, reason }) => {
      if (socket !== opening) return;
      socket = undefined;
      hasEntered = false;
      if (code === needsToken) {
        token = undefined;
        return events.needsToken(reason);
      }
      if (finalCodes.includes(code)) return events.lost(reason, undefined);
      // Jitter, for pages that lose the same server at once.
      const wait = Math.min(maxBackoff, minBackoff * 2 ** failures++) * (0.75 + Math.random() / 2);
      timer = setTimeout(connect, wait);
      lost(reason, wasOpen, wait);
    };
  };
  connect();
  return {
    send(message) {
      if (hasEntered) socket?.send(JSON.stringify(message));
    },
    enter(given) {
      token = given;
      connect();
    },
    retryNow() {
      if (socket === undefined) connect();
    },
  };
}
