/** nginx, Caddy, HAProxy and Apache, with the recipes of the manual, on free ports. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Hooks } from './serverProcess.ts';
import { temporaryFolder } from './temporaryFolder.ts';

export interface FrontProxy {
  readonly name: 'nginx' | 'caddy' | 'haproxy' | 'apache';
  /** Completes the recipe to a configuration. */
  frame(recipe: string, folder: string, port: number): string;
  command(file: string): string[];
}

export const nginx: FrontProxy = {
  name: 'nginx',
  frame: (recipe, folder) => `
      daemon off; pid ${folder}/pid; error_log stderr; worker_processes 1; events {}
      http { access_log off; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
        fastcgi_temp_path ${folder}/fcgi; uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
        ${recipe} }`,
  command: file => ['/usr/sbin/nginx', '-c', file, '-e', 'stderr'],
};

export const caddy: FrontProxy = {
  name: 'caddy',
  frame: recipe => `{\n  admin off\n  auto_https off\n}\n${recipe}`,
  command: file => ['/usr/bin/caddy', 'run', '--adapter', 'caddyfile', '--config', file],
};

export const haproxy: FrontProxy = {
  name: 'haproxy',
  frame: recipe => recipe,
  command: file => ['/usr/sbin/haproxy', '-db', '-f', file],
};

export const apache: FrontProxy = {
  name: 'apache',
  frame: (recipe, folder, port) => `
      ServerName localhost\nServerRoot ${folder}\nPidFile ${folder}/pid\nErrorLog ${folder}/log\nListen ${port}
      ${process.getuid?.() === 0 ? 'User www-data\nGroup www-data' : ''}
      ${['mpm_event', 'authz_core', 'proxy', 'proxy_http']
        .map(name => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`)
        .join('\n')}
      ${recipe}`,
  command: file => ['/usr/sbin/apache2', '-X', '-f', file],
};

/** A port that was free a moment ago: these programs cannot choose one themselves. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** The recipe with other ports. */
function portedRecipe(recipe: string, port: number, serverPort: number): string {
  const ported = recipe.replaceAll('127.0.0.1:8080', `127.0.0.1:${serverPort}`);
  return ported.replace(/(listen |bind :|VirtualHost \*:|^:)80\b/, `$1${port}`);
}

/** Until a request gets through: Apache listens, reads its configuration again, and listens anew. */
async function untilServing(url: string, hasEnded: () => boolean, said: () => string): Promise<void> {
  for (;;) {
    if (hasEnded()) throw new Error(`the proxy ended: ${said()}`);
    const isServing = await fetch(url).then(
      ({ status }) => status < 500,
      () => false,
    );
    if (isServing) return;
  }
}

/**
 * Starts a proxy before a server; it is stopped when the test ends.
 * @param probe a path that the proxy serves when it is ready
 * @returns its port
 */
export async function startProxy(
  test: Hooks,
  { frame, command }: FrontProxy,
  recipe: string,
  serverPort: number,
  probe: string,
): Promise<number> {
  const folder = temporaryFolder();
  const port = await freePort();
  const file = join(folder, 'proxy.conf');
  writeFileSync(file, `${frame(portedRecipe(recipe, port, serverPort), folder, port)}\n`);
  const [program = '', ...words] = command(file);
  const child = spawn(program, words, {
    env: { ...process.env, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const gone = once(child, 'close');
  let said = '';
  child.stderr.setEncoding('utf8').on('data', chunk => {
    said += chunk;
  });
  test.after(async () => {
    child.kill('SIGTERM');
    await gone;
  });
  await untilServing(
    `http://127.0.0.1:${port}${probe}`,
    () => child.exitCode !== null,
    () => said,
  );
  return port;
}
