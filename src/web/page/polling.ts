/** A stand-in for a WebSocket: long polling over HTTP. */

/** The part of WebSocket that the page uses. */
export type Link = Pick<WebSocket, 'send' | 'close' | 'onopen' | 'onclose' | 'onmessage'>;

/** Milliseconds before a failed request is repeated. */
const retryDelay = 500;
/** Attempts before the link counts as lost. */
const maxTries = 4;

/** @param url the server's `poll/` */
export function openPolling(url: URL, handler: string): Link {
  /** The session's URL, once it is open. */
  let session: URL | undefined;
  let isOver = false;
  let lastReceived = 0;
  let lastSent = 0;
  /** The queue of messages, which are sent one at a time. */
  let sending = Promise.resolve();
  const abort = new AbortController();
  const link: Link = { onopen: null, onclose: null, onmessage: null, send, close };

  /** @param closing the code and reason of the server, if it sent them */
  const fail = (closing?: CloseEventInit): void => {
    if (isOver) return;
    close();
    // Asynchronously, as a WebSocket does, so that the creator can set its handlers first.
    setTimeout(() => link.onclose?.call(link as WebSocket, new CloseEvent('close', closing)));
  };
  const lose = (): void => fail();

  /** Repeats a request until it is answered: sequence numbers make that safe. @throws Error if it is refused */
  const request = async (query: string, options?: RequestInit): Promise<{ [field: string]: unknown }> => {
    for (let tries = 1; ; tries++) {
      try {
        const answer = await fetch(`${session}?${query}`, { ...options, signal: abort.signal });
        if (answer.status < 400) return await answer.json();
        // 429 means to try again later; all other errors are final.
        if (answer.status !== 429) tries = maxTries;
        throw new Error(String(answer.status));
      } catch (error) {
        if (isOver || tries >= maxTries) throw error;
        await new Promise(resolve => setTimeout(resolve, retryDelay));
      }
    }
  };

  const run = async (): Promise<void> => {
    const opened = await fetch(new URL(handler, url), { method: 'POST', signal: abort.signal });
    const { status, headers } = opened;
    // The server's own refusal, not that of a proxy. A WebSocket is closed with these codes.
    if ((status === 401 || status === 403) && headers.get('content-type')?.startsWith('text/plain'))
      return fail({ code: 4000 + status, reason: (await opened.text()).trim() });
    if (status !== 201) return fail();
    session = new URL(`s/${(await opened.json()).session}`, url);
    if (isOver) return leave();
    link.onopen?.call(link as WebSocket, new Event('open'));
    for (;;) {
      const { messages, closed } = await request(`ack=${lastReceived}`);
      for (const { seq, binary } of messages as { seq: number; binary: string }[]) {
        if (seq <= lastReceived || isOver) continue;
        lastReceived = seq;
        const data = Uint8Array.from(atob(binary), character => character.charCodeAt(0)).buffer;
        link.onmessage?.call(link as WebSocket, new MessageEvent('message', { data }));
      }
      if (closed !== undefined) return fail(closed as CloseEventInit);
    }
  };

  function send(bytes: Parameters<WebSocket['send']>[0]): void {
    const seq = ++lastSent;
    const headers = { 'Content-Type': 'application/octet-stream' };
    const options = { method: 'POST', headers, body: bytes as BodyInit };
    sending = sending.then(() => request(`seq=${seq}`, options)).then(() => {}, lose);
  }

  /** Tells the server that the session is over, even while the page unloads. */
  function leave(): void {
    if (session !== undefined) fetch(session, { method: 'DELETE', keepalive: true }).catch(() => {});
  }

  function close(): void {
    if (isOver) return;
    isOver = true;
    removeEventListener('pagehide', lose);
    abort.abort();
    leave();
  }

  addEventListener('pagehide', lose);
  run().catch(lose);
  return link;
}
