/** A WebSocket for where there is none: HTTP requests that say and hear the same. */

/** What is used of a WebSocket. */
export type Link = Pick<WebSocket, 'send' | 'close' | 'onopen' | 'onclose' | 'onmessage'>;

/** Between two tries of a request that got no answer; milliseconds. */
const pause = 500;
/** So many of them one after the other, and the link is lost. */
const maxTries = 4;

/** @param url of the server's `poll/` */
export function openPolling(url: URL, handler: string): Link {
  /** The session's address, once it is open. */
  let session: URL | undefined;
  let isOver = false;
  let heard = 0;
  let said = 0;
  /** What is to be sent, one message after the other. */
  let sending = Promise.resolve();
  const abort = new AbortController();
  const link: Link = { onopen: null, onclose: null, onmessage: null, send, close };

  const over = (): void => {
    if (isOver) return;
    close();
    // As a WebSocket does, not before the one who made it has said what is to be done then.
    setTimeout(() => link.onclose?.call(link as WebSocket, new CloseEvent('close')));
  };

  /** Asks until there is an answer: nothing is lost or done twice by asking again. @throws where it is refused */
  const ask = async (query: string, options?: RequestInit): Promise<{ [field: string]: unknown }> => {
    for (let tries = 1; ; tries++) {
      try {
        const answer = await fetch(`${session}?${query}`, { ...options, signal: abort.signal });
        if (answer.status < 400) return await answer.json();
        // Too much at once: later. Anything else does not become better by itself.
        if (answer.status !== 429) tries = maxTries;
        throw new Error(String(answer.status));
      } catch (error) {
        if (isOver || tries >= maxTries) throw error;
        await new Promise(resolve => setTimeout(resolve, pause));
      }
    }
  };

  const listen = async (): Promise<void> => {
    const opened = await fetch(new URL(handler, url), { method: 'POST', signal: abort.signal });
    if (opened.status !== 201) return over();
    session = new URL(`s/${(await opened.json()).session}`, url);
    if (isOver) return leave();
    link.onopen?.call(link as WebSocket, new Event('open'));
    for (;;) {
      const { messages, closed } = await ask(`ack=${heard}`);
      for (const { seq, binary } of messages as { seq: number; binary: string }[]) {
        if (seq <= heard || isOver) continue;
        heard = seq;
        const data = Uint8Array.from(atob(binary), character => character.charCodeAt(0)).buffer;
        link.onmessage?.call(link as WebSocket, new MessageEvent('message', { data }));
      }
      if (closed !== undefined) return over();
    }
  };

  function send(bytes: Parameters<WebSocket['send']>[0]): void {
    const seq = ++said;
    const headers = { 'Content-Type': 'application/octet-stream' };
    const options = { method: 'POST', headers, body: bytes as BodyInit };
    sending = sending.then(() => ask(`seq=${seq}`, options)).then(() => {}, over);
  }

  /** The server need not wait whether we come again, even if this page is on its way out. */
  function leave(): void {
    if (session !== undefined) fetch(session, { method: 'DELETE', keepalive: true }).catch(() => {});
  }

  function close(): void {
    if (isOver) return;
    isOver = true;
    removeEventListener('pagehide', over);
    abort.abort();
    leave();
  }

  addEventListener('pagehide', over);
  listen().catch(over);
  return link;
}
