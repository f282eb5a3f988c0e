/**
 * A WebSocket that is opened again after it is lost. The server sends the whole table to whoever enters, so nothing has to be
 * made up for afterwards.
 */

/** Milliseconds: the first pause before a new attempt, and the longest. */
const pauses = { first: 250, longest: 8000 };

/** A request is answered at once. After so long without an answer, the connection is dead although the browser does not know. */
const answerTime = 5000;

/** A page that was hidden for so long opens a new connection. */
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
    // Not all pages at the same moment, after a restart of the server.
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
