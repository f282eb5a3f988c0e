/** npm's `ws`, as its own documentation shows echo and broadcast: `node ws.js echo|broadcast`. */
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';

const broadcast = process.argv[2] === 'broadcast';
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });

server.on('connection', connection => {
  connection.on('error', () => connection.terminate());
  connection.on('message', (data, isBinary) => {
    if (!broadcast) connection.send(data, { binary: isBinary });
    else for (const client of server.clients) client.send(data, { binary: isBinary });
  });
});
server.on('listening', () => {
  const { port } = server.address() as AddressInfo;
  console.log(JSON.stringify({ port, pid: process.pid }));
});
