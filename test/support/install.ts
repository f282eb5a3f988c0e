/** Real clients that tests need: found, or installed from Debian, or asked for. A test that lacks one fails. */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const installTimeout = 10 * 60_000;

/** @returns the path of a Chromium. @throws Error, a sentence, where there is none and none can be installed */
export function findChromium(): string {
  const named = process.env['CHROMIUM'];
  if (named !== undefined && named !== '') return named;
  const found = chromiumOnPath();
  if (found !== undefined) return found;
  installPackage('chromium');
  const installed = chromiumOnPath();
  if (installed !== undefined) return installed;
  throw new Error('the browser tests need Chromium: apt-get install chromium, or set CHROMIUM to its path');
}

function chromiumOnPath(): string | undefined {
  const folders = ['/usr/bin', ...(process.env['PATH'] ?? '').split(delimiter)];
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
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

const python = '/usr/bin/python3';

/** @returns the path of a Python that has `websockets`. @throws Error, a sentence, as above */
export function findPythonWithWebsockets(): string {
  if (hasWebsockets()) return python;
  installPackage('python3-websockets');
  if (hasWebsockets()) return python;
  throw new Error(
    "this test needs Python's websockets for /usr/bin/python3: apt-get install python3-websockets",
  );
}

function hasWebsockets(): boolean {
  try {
    execFileSync(python, ['-c', 'import websockets'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Where this is root and on Debian; elsewhere, and where it fails, the caller finds that nothing has changed. */
function installPackage(name: string): void {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return;
  const options = {
    stdio: 'ignore',
    timeout: installTimeout,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  } as const;
  try {
    execFileSync('/usr/bin/apt-get', ['update'], options);
    execFileSync('/usr/bin/apt-get', ['install', '-y', '--no-install-recommends', name], options);
  } catch {
    // What is missing is told by whoever looks again.
  }
}
