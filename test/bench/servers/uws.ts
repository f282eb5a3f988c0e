/** uWebSockets.js, C++ under a thin binding: `node uws.js echo|broadcast BINARY`. Broadcast is its own publish/subscribe. */
import { createRequire } from 'node:module';

/** The part of its interface that is used here. */
interface Socket {
  send(message: ArrayBuffer, isBinary: boolean): number;
  subscribe(topic: string): boolean;
}
interface App {
  ws(pattern: string, behaviour: object): App;
  publish(topic: string, message: ArrayBuffer, isBinary: boolean): boolean;
  listen(host: string, port: number, listening: (token: object | false) => void): App;
}
interface Uws {
  App(): App;
  us_socket_local_port(token: object): number;
  DISABLED: number;
}

const MiB = 1024 * 1024;
const topic = 'everyone';
const broadcast = process.argv[2] === 'broadcast';
// Loads the binary directly, because the package around it falls back to `ws` silently.
const uws = createRequire(import.meta.url)(process.argv[3]!) as Uws;
const app = uws.App();

app.ws('/*', {
  compression: uws.DISABLED,
  maxPayloadLength: 16 * MiB,
  maxBackpressure: 64 * MiB,
  idleTimeout: 0,
  sendPingsAutomatically: false,
  open(socket: Socket) {
    if (broadcast) socket.subscribe(topic);
  },
  message(socket: Socket, message: ArrayBuffer, isBinary: boolean) {
    if (broadcast) app.publish(topic, message, isBinary);
    else socket.send(message, isBinary);
  },
});
app.listen('127.0.0.1', 0, token => {
  if (token === false) throw new Error('cannot listen');
  console.log(JSON.stringify({ port: uws.us_socket_local_port(token), pid: process.pid }));
});
