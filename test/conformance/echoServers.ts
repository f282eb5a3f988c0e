/** Echo servers of other projects, as child processes, for the conformance cases. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { findPythonWithWebsockets, findWebsocketd } from '../support/install.ts';
import { freePort } from '../support/proxies.ts';
import type { Hooks } from '../support/serverProcess.ts';

const pythonScript = fileURLToPath(new URL('../../../test/conformance/echo_server.py', import.meta.url));
const wsScript = fileURLToPath(new URL('./wsEchoServer.js', import.meta.url));

/** Each starts a server, and stops it when the test ends. @returns its URL */
export const echoServers = {
  ws: (test: Hooks) => startPrinting(test, process.execPath, wsScript),
  websockets: (test: Hooks) => startPrinting(test, findPythonWithWebsockets(), '-B', pythonScript),
  // Messages are lines of a program's stdin and stdout: `cat` echoes them.
  websocketd: (test: Hooks) => startOnPort(test, findWebsocketd(), '--address=127.0.0.1', 'cat'),
} as const satisfies Record<string, (test: Hooks) => Promise<string>>;

/** A server that prints its port. */
async function startPrinting(test: Hooks, program: string, ...words: string[]): Promise<string> {
  const { child, gone } = start(test, program, words);
  const [port] = await Promise.race([
    once(createInterface(child.stdout), 'line'),
    gone.then(() => Promise.reject(new Error(`${program} ended without printing its port`))),
  ]);
  return `ws://127.0.0.1:${port}/`;
}

/** A server that cannot choose a port. */
async function startOnPort(test: Hooks, program: string, ...words: string[]): Promise<string> {
  const port = await freePort();
  const { child } = start(test, program, [`--port=${port}`, ...words]);
  child.stdout.resume();
  while (!(await isListening(port))) {
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`);
    await delay(20);
  }
  return `ws://127.0.0.1:${port}/`;
}

function start(test: Hooks, program: string, words: readonly string[]) {
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'ignore'] });
  const gone = once(child, 'close');
  test.after(async () => {
    child.kill('SIGKILL');
    await gone;
  });
  return { child, gone };
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
