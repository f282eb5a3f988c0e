/**
 * A WebSocket that reconnects. The server sends the whole table to each client that enters, so a page misses nothing.
 */

/** Milliseconds: the first pause before a new attempt, and the longest. */
const pauses = { first: 250, longest: 8000 };

/** The server answers at once. After this time without an answer the connection is dead, even if the browser has not noticed. */
const answerTime = 5000;

/** A page that becomes visible reconnects if its last message is older than this. */
const staleTime = 30_000;

/**
 * @param {string} path of the handler, such as `/checkers`
 * @param {object} callbacks
 * @param {() => void} callbacks.opened
 * @param {(message: any) => void} callbacks.received gets the value of the JSON
 * @param {(isOpen: boolean) => void} callbacks.changed
 */
export function keepConnected(path, { opened, received, changed }) {
  /** @type {WebSocket | undefined} */
  let socket;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let retry;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let deadline;
  let pause = pauses.first;
  let lastMessage = Date.now();
  let isEnded = false;

  function open() {
    clearTimeout(retry);
    clearTimeout(deadline);
    if (isEnded) return;
    const own = new WebSocket(new URL(path, location.href.replace(/^http/, 'ws')));
    socket = own;
    deadline = setTimeout(() => lose(own), answerTime);
    own.onopen = () => {
      clearTimeout(deadline);
      lastMessage = Date.now();
      changed(true);
      opened();
    };
    own.onmessage = ({ data }) => {
      clearTimeout(deadline);
      pause = pauses.first;
      lastMessage = Date.now();
      received(JSON.parse(data));
    };
    own.onclose = () => lose(own);
  }

  /** @param {WebSocket} which */
  function lose(which) {
    if (which !== socket) return;
    socket = undefined;
    which.close();
    clearTimeout(deadline);
    changed(false);
    // A random pause spreads the reconnects after a restart of the server.
    retry = setTimeout(open, pause * (0.5 + Math.random() / 2));
    pause = Math.min(2 * pause, pauses.longest);
  }

  function openAgain() {
    const before = socket;
    socket = undefined;
    before?.close();
    open();
  }

  addEventListener('online', openAgain);
  addEventListener('pageshow', ({ persisted }) => persisted && openAgain());
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState !== 'visible') return;
    if (socket === undefined || Date.now() - lastMessage > staleTime) openAgain();
  });
  open();

  return {
    /** @param {object} request @returns {boolean} whether it was sent; if not, send it in `opened` */
    send(request) {
      if (socket?.readyState !== WebSocket.OPEN) return false;
      const own = socket;
      own.send(JSON.stringify(request));
      clearTimeout(deadline);
      deadline = setTimeout(() => lose(own), answerTime);
      return true;
    },
    /** Ends the connection for good. */
    end() {
      isEnded = true;
      clearTimeout(retry);
      socket?.close();
    },
  };
}
