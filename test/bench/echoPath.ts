/**
 * The functions of our own that one echo passes through: the server runs with V8's precise coverage, which counts calls,
 * and a client that is connected already sends 32 bytes. `make count-echo` prints them.
 */
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { WebSocket } from 'ws';
import { roundTrip } from '../support/echoProbe.ts';
import { connectRaw } from '../support/rawClient.ts';
import { type ServerProcess, serverScript, startServerWith } from '../support/serverProcess.ts';

/** As `core/poll.js: arrived`, in the order of the files. */
export type EchoPath = readonly string[];

/** The inspector's account of one script: https://chromedevtools.github.io/devtools-protocol/tot/Profiler/ */
interface ScriptCoverage {
  readonly url: string;
  readonly functions: readonly {
    readonly functionName: string;
    readonly ranges: readonly { readonly startOffset: number; readonly count: number }[];
  }[];
}

/** Echoes until every function is as warm, and every buffer as long, as it gets. */
const warmUp = 200;
/** A timer may go off during an echo, or another process take the processor and make a turn slow, but not during every echo. */
const rounds = 40;

/** The inspector interrupts the thread anywhere, and the answer is sent before the turn is over: this waits for its end. */
const betweenTurns = {
  expression: 'new Promise(done => setImmediate(() => setImmediate(done)))',
  awaitPromise: true,
};

/** @returns the functions that every one of several echoes passes through */
export async function echoPath(): Promise<EchoPath> {
  const server = await startServerWith(
    ['-p', '0', '--host', '127.0.0.1', '--control', 'none', '--config', 'none', '--log-format', 'json'],
    { environment: { ...process.env, NODE_OPTIONS: '--inspect=127.0.0.1:0' } },
  );
  try {
    const profiler = await openInspector(server);
    const client = await connectRaw(server.port, { path: '/echo' });
    await profiler.call('Profiler.enable');
    await profiler.call('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
    const message = 'm'.repeat(32);
    for (let i = 0; i < warmUp; i++) await roundTrip(client, message);
    let path: ReadonlySet<string> | undefined;
    for (let round = 0; round < rounds; round++) {
      await profiler.call('Runtime.evaluate', betweenTurns);
      await profiler.call('Profiler.takePreciseCoverage');
      await roundTrip(client, message);
      await profiler.call('Runtime.evaluate', betweenTurns);
      const called = functionsCalled(await profiler.call('Profiler.takePreciseCoverage'));
      path = new Set(called.filter(one => path === undefined || path.has(one)));
    }
    profiler.close();
    client.destroy();
    return [...path!].sort();
  } finally {
    await server.kill();
  }
}

/** The files of the path. */
export function filesOf(path: EchoPath): string[] {
  return [...new Set(path.map(one => one.slice(0, one.indexOf(':'))))];
}

interface Inspector {
  call(method: string, params?: object): Promise<unknown>;
  close(): void;
}

async function openInspector(server: ServerProcess): Promise<Inspector> {
  const address = () => /Debugger listening on (ws:\S+)\s/.exec(server.stderr())?.[1];
  while (address() === undefined) await once(server.child.stderr!, 'data');
  const socket = new WebSocket(address()!, { perMessageDeflate: false });
  await once(socket, 'open');
  let calls = 0;
  return {
    async call(method, params = {}) {
      const id = ++calls;
      socket.send(JSON.stringify({ id, method, params }));
      for (;;) {
        const [data] = await once(socket, 'message');
        const answer = JSON.parse(String(data)) as { id?: number; result?: unknown; error?: unknown };
        if (answer.id !== id) continue;
        if (answer.error !== undefined) throw new Error(`${method}: ${JSON.stringify(answer.error)}`);
        return answer.result;
      }
    },
    close: () => socket.terminate(),
  };
}

function functionsCalled(coverage: unknown): string[] {
  const { result } = coverage as { result: readonly ScriptCoverage[] };
  const dist = new URL('./', pathToFileURL(serverScript)).href;
  return result
    .filter(({ url }) => url.startsWith(dist))
    .flatMap(({ url, functions }) =>
      functions
        .filter(({ ranges: [whole] }) => whole!.count > 0)
        .map(({ functionName, ranges: [whole] }) => {
          const name = functionName || `the function at ${whole!.startOffset}`;
          return `${url.slice(dist.length)}: ${name}`;
        }),
    );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const path = await echoPath();
  console.log(path.join('\n'));
  console.log(
    `An echo of 32 bytes passes through ${path.length} functions in ${filesOf(path).length} files.`,
  );
}
