/** The servers under comparison, in the order of their columns. Each is a process that prints its port. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../support/temporaryFolder.ts';
import { publishToken } from '../jobs.ts';
import type { Service } from '../rows.ts';

export interface Contender {
  /** The name for `--servers`. */
  readonly key: string;
  /** The title of the column. */
  readonly title: string;
  /** The server speaks no WebSocket: the load sends no handshake and expects its own bytes back. */
  readonly raw: boolean;
  /** The server has the packet sub-protocol. Others broadcast in the rows of chats. */
  readonly packets: boolean;
  /** Whether it has channels. A server with nothing else takes part only in their rows. */
  readonly channels: 'none' | 'only' | 'too';
  /** The signal that ends it; default: SIGKILL. */
  readonly stopSignal?: NodeJS.Signals;
  /** Installs the server if necessary. @returns its version, or a sentence about why it cannot run here */
  prepare(): { readonly version: string } | { readonly missing: string };
  /** The arguments that make `node` this server. */
  arguments(service: Service): string[];
}

/** The path of a script of this folder. */
const here = fileURLToPath(import.meta.url);
const script = (name: string) => join(here, '..', `${name}${extname(here)}`);

/** Compiled: the server runs JavaScript. */
const modules = resolve('build/test/bench/modules');

const uwsPackage = '@trufflesuite/uws-js-unofficial';
const uwsWanted = `${uwsPackage}@20.30.0-unofficial.0`;
const uwsPrefix = resolve('.cache/uws');
const uwsFolder = join(uwsPrefix, 'node_modules', uwsPackage);
const { platform, arch, versions } = process;
const uwsBinary = join(uwsFolder, 'binaries', `uws_${platform}_${arch}_${versions.modules}.node`);

/** As Debian installs them. */
const nginx = '/usr/sbin/nginx';
const nchanModule = '/usr/lib/nginx/modules/ngx_nchan_module.so';

const pollywogServer = resolve('dist/server.js');

export const contenders: readonly Contender[] = [
  {
    key: 'net',
    title: 'raw net',
    raw: true,
    packets: false,
    channels: 'none',
    prepare: () => ({ version: versions.node }),
    arguments: () => [script('net')],
  },
  {
    key: 'ws',
    title: 'ws',
    raw: false,
    packets: false,
    channels: 'none',
    prepare: () => ({ version: `${versionIn('node_modules/ws')} ${bufferutil()} its optional bufferutil` }),
    arguments: service => [
      ...[script('ws'), withoutChat(service)],
      ...(service === 'echo-tls' ? [madeCertificate().cert, madeCertificate().key] : []),
    ],
  },
  {
    key: 'uws',
    title: 'uWebSockets.js',
    raw: false,
    packets: false,
    channels: 'none',
    prepare() {
      const problem = (existsSync(uwsBinary) ? '' : installUws()) || tryToLoad(uwsBinary);
      return problem ? { missing: problem } : { version: versionIn(uwsFolder).replace(/-unofficial.*/, '') };
    },
    arguments: service => [script('uws'), withoutChat(service), uwsBinary],
  },
  {
    key: 'nchan',
    title: 'nchan',
    raw: false,
    packets: false,
    channels: 'only',
    // Its nginx ends, too.
    stopSignal: 'SIGTERM',
    prepare() {
      const missing = 'not installed (on Debian: apt-get install libnginx-mod-nchan)';
      return existsSync(nginx) && existsSync(nchanModule) ? { version: nchanVersion() } : { missing };
    },
    arguments: () => [script('nchan'), nginx, nchanModule],
  },
  {
    key: 'pollywog',
    title: 'pollywog',
    raw: false,
    packets: true,
    channels: 'too',
    prepare() {
      if (!existsSync(pollywogServer)) return { missing: 'dist/server.js is not there (make build)' };
      return { version: versionIn('.') };
    },
    arguments: service => [pollywogServer, '-p', '0', '--log-format', 'json', ...pollywogOptions(service)],
  },
];

/** Whether the server takes part in the rows of this service. */
export function serves({ channels }: Contender, service: Service): boolean {
  return service === 'channels' ? channels !== 'none' : channels !== 'only';
}

/** Another build of this server, to compare with. @param folder a checkout that has been built */
export function otherBuild(folder: string): Contender {
  const server = resolve(folder, 'dist/server.js');
  return {
    key: 'base',
    title: 'base',
    raw: false,
    packets: true,
    channels: 'too',
    prepare: () =>
      existsSync(server)
        ? { version: versionIn(folder) }
        : { missing: `${server} is not there (make build)` },
    arguments: service => [server, '-p', '0', '--log-format', 'json', ...pollywogOptions(service)],
  };
}

function withoutChat(service: Service): 'echo' | 'broadcast' {
  return service.startsWith('echo') || service === 'module' ? 'echo' : 'broadcast';
}

function pollywogOptions(service: Service): string[] {
  if (service === 'module') return ['--handlers', modules, '--default', 'relay'];
  if (service === 'channels') {
    const file = join(temporaryFolder(), 'token');
    writeFileSync(file, publishToken, { mode: 0o600 });
    return ['--publish-token', file];
  }
  if (service === 'chat') return ['--default', 'tpacket'];
  if (service === 'chat-data') return ['--default', 'tpacket', '--data', temporaryFolder()];
  if (service === 'echo-tls') {
    const { cert, key } = madeCertificate();
    return ['--default', 'echo', '--tls-cert', cert, '--tls-key', key];
  }
  return ['--default', service];
}

let certificate: { cert: string; key: string } | undefined;

/** One certificate for all servers with TLS. */
function madeCertificate(): { cert: string; key: string } {
  if (certificate !== undefined) return certificate;
  const folder = temporaryFolder();
  certificate = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const files = ['-subj', '/CN=localhost', '-keyout', certificate.key, '-out', certificate.cert];
  const { status, error } = spawnSync('openssl', ['req', ...kind, ...files]);
  if (status !== 0) throw new Error(`openssl makes no certificate: ${error?.message ?? `status ${status}`}`);
  return certificate;
}

function nchanVersion(): string {
  const { stdout } = spawnSync('dpkg-query', ['-s', 'libnginx-mod-nchan'], { encoding: 'utf8' });
  return /^Version: (.*)$/m.exec(stdout ?? '')?.[1] ?? 'of unknown version';
}

function versionIn(folder: string): string {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version;
}

/** With this native addon `ws` masks and unmasks long messages several times faster, so the report mentions it. */
function bufferutil(): 'with' | 'without' {
  try {
    createRequire(resolve('node_modules/ws/package.json')).resolve('bufferutil');
    return 'with';
  } catch {
    return 'without';
  }
}

/** Installs into .cache/, so that it is no dependency. @returns an error, or '' */
function installUws(): string {
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error', '--fetch-retries=0'];
  // Without scripts and optional packages: only the binary is needed.
  const only = ['--no-save', '--ignore-scripts', '--omit=optional'];
  const result = spawnSync('npm', ['install', ...quiet, ...only, '--prefix', uwsPrefix, uwsWanted], {
    encoding: 'utf8',
    timeout: 120_000,
  });
  if (result.status === 0)
    return existsSync(uwsBinary) ? '' : `it has no binary for ${platform} ${arch} here`;
  return `npm could not install it: ${result.error?.message ?? firstLine(result.stderr)}`;
}

/** Tries in another process, which a binary for another system may crash. */
function tryToLoad(binary: string): string {
  const result = spawnSync(process.execPath, ['-e', 'require(process.argv[1])', binary], {
    encoding: 'utf8',
  });
  if (result.status === 0) return '';
  return `it cannot be loaded: ${/^Error: (.*)/m.exec(result.stderr)?.[1] ?? firstLine(result.stderr)}`;
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0] || 'no reason given';
}
