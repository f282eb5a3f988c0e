/** Tells people and programs that the server listens, and where. */
import { log } from '../log/log.ts';
import type { Configuration } from '../options/configuration.ts';
import type { Starter } from './daemon.ts';
import { notify } from './notify.ts';

/**
 * Writes one line for each listener to stdout: a link for people, or JSON for programs (`--log-format json`).
 * @param starter of a daemon: the lines go to its stdout
 */
export async function announce(
  listeners: readonly { readonly url: string; readonly port: number | undefined }[],
  { logFormat, origins, tlsCert }: Configuration,
  starter: Starter | undefined,
): Promise<void> {
  const { pid } = process;
  const lines = listeners.map(({ url, port }) =>
    logFormat === 'json'
      ? JSON.stringify({ event: 'listening', url, port, pid })
      : `pollywog listens on ${linkTo(url, tlsCert.length > 0)} (pid ${pid})`,
  );
  // Browsers reach TCP only, and there nothing but HTTP.
  if (origins.length === 0 && listeners.some(({ url }) => /^wss?:/.test(url))) {
    log('info', 'any web page may connect', { restrict: '--origin same, or --origin https://example.com' });
  }
  notify('READY=1', `STATUS=listens on ${listeners.map(({ url }) => url).join(', ')}`);
  if (starter === undefined) process.stdout.write(`${lines.join('\n')}\n`);
  else await starter.ready(lines);
}

/**
 * The page of a listener, as a link that a terminal can open: every interface includes this machine's own.
 * @param hasTls on the same port
 */
export function linkTo(url: string, hasTls: boolean): string {
  const [, host, port] = /^wss?:\/\/(.*):(\d+)$/.exec(url) ?? [];
  if (host === undefined) return url;
  const reachable = host === '[::]' || host === '0.0.0.0' ? 'localhost' : host;
  return `${hasTls ? 'https' : 'http'}://${reachable}:${port}`;
}
