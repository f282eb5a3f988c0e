/**
 * nchan, in an nginx of its own with one worker: `node nchan.ts NGINX MODULE`. The pid is that of the worker, which does all the
 * work. SIGTERM ends them.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

/** Milliseconds between two searches for the worker, and the number of searches. */
const lookEvery = 20;
const maxLooks = 250;

const [, , program = '', module = ''] = process.argv;
const folder = temporaryFolder();
const port = await freePort();

/** One location publishes (POST) and subscribes (GET), as in Pollywog. The defaults keep 10 messages for an hour. */
const configuration = `
load_module ${module};
worker_processes 1;
daemon off;
pid ${folder}/pid;
error_log stderr error;
events { worker_connections 65536; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location ~ ^/channels/(.+)$ {
      nchan_publisher http;
      nchan_subscriber websocket eventsource;
      nchan_subscriber_first_message newest;
      nchan_channel_id $1;
    }
  }
}
`;
writeFileSync(join(folder, 'nginx.conf'), configuration);
const nginx = spawn(program, ['-p', folder, '-c', join(folder, 'nginx.conf')], {
  stdio: ['ignore', 'ignore', 'inherit'],
});
nginx.once('exit', code => process.exit(code ?? 0));
process.once('SIGTERM', () => nginx.kill('SIGTERM'));
process.once('SIGINT', () => nginx.kill('SIGTERM'));
const pid = await untilReady();
console.log(JSON.stringify({ port, pid }));

/** nginx cannot choose a port. Another program may take this one before nginx does: then nginx says so, and ends. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Waits for the worker, which begins after the port is open. @returns its pid */
async function untilReady(): Promise<number> {
  for (let looks = 0; looks < maxLooks; looks++) {
    const worker = workerOf(nginx.pid!);
    if (worker > 0) return worker;
    await wait(lookEvery);
  }
  throw new Error('nginx does not start its worker');
}

function workerOf(master: number): number {
  try {
    return Number(readFileSync(`/proc/${master}/task/${master}/children`, 'latin1').split(' ', 1)[0]);
  } catch {
    // The master has ended; the rejection follows.
    return 0;
  }
}
