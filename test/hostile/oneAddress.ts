/**
 * The process of one address that opens as many connections, polls and half handshakes as it can:
 * node oneAddress.js PORT TOTAL. It keeps all that the server leaves open, and exits with its parent.
 */
import { connect } from 'node:net';
import { requestBytes } from '../support/pollClient.ts';
import { handshakeRequest } from '../support/rawClient.ts';

export interface OneAddress {
  readonly tried: number;
  readonly open: number;
}

const address = '127.0.2.1';
/** Each has ports of its own for the clients' side. */
const serverAddresses = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4'];
const atOnce = 100;
const patience = 5000;

const [port = 0, total = 0] = process.argv.slice(2).map(Number);
const websocket = Buffer.from(handshakeRequest({ path: '/echo' }));
const beginnings = [
  Buffer.alloc(0),
  websocket,
  websocket.subarray(0, -2),
  requestBytes('POST', '/poll/echo', { headers: { Connection: 'keep-alive' } }),
  requestBytes('GET', '/channels/pond', { headers: { Accept: 'text/event-stream' } }),
];

let tried = 0;
let open = 0;

/** Resolves when the connection has sent its beginning, or failed. */
function dial(index: number): Promise<void> {
  return new Promise(resolve => {
    const host = serverAddresses[index % serverAddresses.length]!;
    const socket = connect({ host, port, localAddress: address });
    // A full queue of the listener drops our SYN.
    socket.setTimeout(patience, () => resolve());
    socket.once('connect', () => {
      open++;
      socket.once('close', () => open--);
      socket.write(beginnings[index % beginnings.length]!);
      resolve();
    });
    socket.on('error', () => resolve());
    socket.once('end', () => socket.destroy());
    socket.resume();
  });
}

async function openOn(): Promise<void> {
  while (tried < total) await dial(tried++);
}

setInterval(() => process.send?.({ tried, open } satisfies OneAddress), 200);
process.once('disconnect', () => process.exit());
await Promise.all(Array.from({ length: atOnce }, openOn));
