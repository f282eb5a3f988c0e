/**
 * Programs that the tests need. `make test` runs this first: as root on Debian it installs the missing ones; elsewhere it
 * says what to install, and the tests do not run. No test is skipped because a program is missing.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';

interface Tool {
  readonly name: string;
  /** The packages of Debian that contain it. */
  readonly package: string;
  readonly isThere: () => boolean;
}

const python = '/usr/bin/python3';

const tools: readonly Tool[] = [
  { name: 'Chromium', package: 'chromium', isThere: () => chromiumOnPath() !== undefined },
  {
    name: "Python's websockets, for /usr/bin/python3",
    package: 'python3-websockets',
    isThere: hasWebsockets,
  },
  // Apache without the package that starts a service.
  { name: 'Apache', package: 'apache2-bin', isThere: () => existsSync('/usr/sbin/apache2') },
  { name: 'Caddy', package: 'caddy', isThere: () => existsSync('/usr/bin/caddy') },
  { name: 'HAProxy', package: 'haproxy', isThere: () => existsSync('/usr/sbin/haproxy') },
  { name: 'nginx', package: 'nginx-light', isThere: () => existsSync('/usr/sbin/nginx') },
  { name: 'curl', package: 'curl', isThere: () => onPath(['curl']) !== undefined },
  { name: 'nc', package: 'netcat-openbsd', isThere: () => onPath(['nc']) !== undefined },
  // With its whole library: `perl-base` lacks parts of it.
  { name: 'perl', package: 'perl', isThere: () => works('perl', ['-MHTTP::Tiny', '-MJSON::PP', '-e', '1']) },
  { name: 'PHP', package: 'php-cli', isThere: () => onPath(['php']) !== undefined },
  { name: 'Puma', package: 'puma', isThere: () => existsSync('/usr/bin/puma') },
  {
    name: "Rails, for Debian's Ruby",
    package: 'ruby-railties ruby-actionpack ruby-activerecord ruby-sqlite3 ruby-jwt',
    isThere: () =>
      works('/usr/bin/ruby', [
        '-raction_controller/railtie',
        '-ractive_record/railtie',
        '-rsqlite3',
        '-rjwt',
        '-e',
        '0',
      ]),
  },
  { name: 'python3', package: 'python3', isThere: () => onPath(['python3']) !== undefined },
  {
    name: 'pytest, for /usr/bin/python3',
    package: 'python3-pytest',
    isThere: () => works(python, ['-c', 'import pytest']),
  },
  { name: 'openssl', package: 'openssl', isThere: () => onPath(['openssl']) !== undefined },
  { name: 'xxd', package: 'xxd', isThere: () => onPath(['xxd']) !== undefined },
  { name: 'flock', package: 'util-linux', isThere: () => onPath(['flock']) !== undefined },
  { name: 'systemd-notify', package: 'systemd', isThere: () => onPath(['systemd-notify']) !== undefined },
  { name: 'unshare', package: 'util-linux', isThere: () => onPath(['unshare']) !== undefined },
  { name: 'man', package: 'man-db', isThere: () => onPath(['man']) !== undefined },
  // promtool checks the format of the metrics.
  { name: 'promtool', package: 'prometheus', isThere: () => onPath(['promtool']) !== undefined },
  { name: 'websocketd', package: 'websocketd', isThere: () => onPath(['websocketd']) !== undefined },
  { name: 'prlimit', package: 'util-linux', isThere: () => onPath(['prlimit']) !== undefined },
];

/** @returns the path of Chromium. @throws Error that says what to install */
export function findChromium(): string {
  const found = chromiumOnPath();
  if (found === undefined) throw new Error(wanted([tools[0]!]));
  return found;
}

function chromiumOnPath(): string | undefined {
  const named = process.env['CHROMIUM'];
  if (named !== undefined && named !== '') return named;
  return onPath(['chromium', 'chromium-browser', 'google-chrome']);
}

/** @returns the path of a Python that has `websockets`. @throws Error that says what to install */
export function findPythonWithWebsockets(): string {
  if (!hasWebsockets()) throw new Error(wanted([tools[1]!]));
  return python;
}

/** @returns the path of websocketd. @throws Error that says what to install */
export function findWebsocketd(): string {
  const found = onPath(['websocketd']);
  if (found === undefined) throw new Error(wanted(tools.filter(({ name }) => name === 'websocketd')));
  return found;
}

function hasWebsockets(): boolean {
  return works(python, ['-c', 'import websockets']);
}

function works(program: string, words: readonly string[]): boolean {
  try {
    execFileSync(program, words, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function onPath(names: readonly string[]): string | undefined {
  const folders = ['/usr/bin', ...(process.env['PATH'] ?? '').split(delimiter)];
  return folders
    .flatMap(folder => names.map(name => join(folder, name)))
    .find(path => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

function wanted(missing: readonly Tool[]): string {
  const names = missing.map(({ name }) => name).join(', ');
  const packages = missing.map(tool => tool.package).join(' ');
  return `the tests need ${names}: apt-get install ${packages}`;
}

function installMissing(): void {
  const isMissing = ({ isThere }: Tool) => !isThere();
  let missing = tools.filter(isMissing);
  if (missing.length > 0 && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    const packages = missing.flatMap(tool => tool.package.split(' '));
    console.log(`installing what the tests need: ${packages.join(' ')}`);
    aptGet('update');
    aptGet('install', '-y', '--no-install-recommends', ...packages);
    missing = tools.filter(isMissing);
  }
  if (missing.length === 0) return;
  console.error(wanted(missing));
  process.exitCode = 1;
}

/** Failures are ignored: the tools are checked again afterwards. */
function aptGet(...words: string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  try {
    execFileSync('/usr/bin/apt-get', ['-qq', ...words], { stdio: ['ignore', 'ignore', 'inherit'], env });
  } catch {
    console.error(`apt-get ${words[0]} failed`);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) installMissing();
