/** The server listens: whoever waits for that is told. */
import type { Listener } from '../connection/server.ts';
import type { Configuration } from '../options/configuration.ts';
import type { Starter } from './daemon.ts';
import { notify } from './notify.ts';

/**
 * One line a listener on stdout: that it listens, where, and who.
 * @param starter of a daemon, whose stdout it is then
 */
export async function announce(
  listeners: readonly Listener[],
  { logFormat }: Configuration,
  starter: Starter | undefined,
): Promise<void> {
  const { pid } = process;
  const lines = listeners.map(({ url, port }) =>
    logFormat === 'json'
      ? JSON.stringify({ event: 'listening', url, port, pid })
      : `pollywog listens on ${url} (pid ${pid})`,
  );
  notify('READY=1', `STATUS=listens on ${listeners.map(({ url }) => url).join(', ')}`);
  if (starter === undefined) process.stdout.write(`${lines.join('\n')}\n`);
  else await starter.ready(lines);
}
