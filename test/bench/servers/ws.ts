/** npm's `ws`, as its own documentation shows echo and broadcast: `node ws.js echo|broadcast [CERTIFICATE KEY]`. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';

const [, , service, cert, key] = process.argv;
const broadcast = service === 'broadcast';
const http =
  cert === undefined || key === undefined
    ? createServer()
    : createSecureServer({ cert: readFileSync(cert), key: readFileSync(key) });
const server = new WebSocketServer({ server: http, perMessageDeflate: false });

server.on('connection', connection => {
  connection.on('error', () => connection.terminate());
  connection.on('message', (data, isBinary) => {
    if (!broadcast) connection.send(data, { binary: isBinary });
    else for (const client of server.clients) client.send(data, { binary: isBinary });
  });
});
http.listen(0, '127.0.0.1', () => {
  const { port } = http.address() as AddressInfo;
  console.log(JSON.stringify({ port, pid: process.pid }));
});
