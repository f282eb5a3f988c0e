/**
 * The clients of the storm, in a process of their own: node build/test/access/stormClients.js PORT CLIENTS USERS
 *
 * Each is one of the users, and subscribes to a channel of that user or to the news. Whenever its connection ends, it connects
 * again. The parent process hears how many have made their handshake, and how many have received the text "everyone is back".
 */
import { connect } from 'node:net';
import { handshakeRequest } from '../support/rawClient.ts';

export interface StormClients {
  /** Clients that have made their handshake, and those of them that have received the marker. */
  readonly open: number;
  readonly heard: number;
  /** Handshakes that were refused, so far. */
  readonly refused: number;
}

const [port = 0, clients = 0, users = 0] = process.argv.slice(2).map(Number);

/** Between two attempts, while nothing listens. */
const pause = 50;

let [open, heard, refused] = [0, 0, 0];
let isReported = true;

function report(): void {
  if (!isReported) return;
  isReported = false;
  setTimeout(() => {
    isReported = true;
    process.send!({ open, heard, refused } satisfies StormClients);
  }, 20);
}

function start(index: number): void {
  const user = index % users;
  // The clients of one user are in both.
  const channel = Math.floor(index / users) % 2 === 0 ? `user-${user}` : 'news';
  const headers = { Cookie: `sid=${user}; visit=1` };
  const request = handshakeRequest({ path: `/channels/${channel}`, headers });
  let [isOpen, hasHeard] = [false, false];
  let unread = '';
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  socket.setEncoding('latin1');
  socket.on('error', () => {});
  socket.on('connect', () => socket.write(request));
  socket.on('data', text => {
    unread += text;
    if (!isOpen && unread.includes('\r\n\r\n')) {
      if (unread.startsWith('HTTP/1.1 101 ')) {
        isOpen = true;
        open++;
      } else {
        refused++;
        socket.destroy();
      }
    }
    if (!hasHeard && unread.includes('everyone is back')) {
      hasHeard = true;
      heard++;
    }
    report();
  });
  socket.on('close', () => {
    if (isOpen) open--;
    if (hasHeard) heard--;
    report();
    setTimeout(start, pause, index);
  });
}

// SYNs beyond the backlog would be sent again after a second, so the first arrivals come in groups.
let started = 0;
function startSome(): void {
  for (const end = Math.min(clients, started + 100); started < end; started++) start(started);
  if (started < clients) setTimeout(startSome, 5);
}
startSome();
process.on('disconnect', () => process.exit());
