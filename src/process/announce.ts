/** What the process tells the outside: the ready line, systemd's notifications, and the last of its output. */
import { execFile } from 'node:child_process';
import type { WriteStream } from 'node:tty';
import { log } from '../log/log.ts';
import type { Configuration } from '../options/configuration.ts';
import { outputDrainTimeout } from '../protocol/limits.ts';
import type { Parent } from './daemon.ts';

/**
 * Writes the ready line of each listener to stdout: a link for people, or JSON for programs (`--log-format json`).
 * @param parent of a daemon: the lines go to its stdout
 */
export async function announceListeners(
  listeners: readonly { readonly url: string; readonly port: number | undefined }[],
  { logFormat, origins, tlsCert }: Configuration,
  parent: Parent | undefined,
): Promise<void> {
  const { pid } = process;
  const lines = listeners.map(({ url, port }) =>
    logFormat === 'json'
      ? JSON.stringify({ event: 'listening', url, port, pid })
      : `pollywog listens on ${linkTo(url, tlsCert.length > 0)} (pid ${pid})`,
  );
  // Browsers cannot reach Unix sockets.
  if (origins.length === 0 && listeners.some(({ url }) => /^wss?:/.test(url))) {
    log('info', 'any web page may connect', {
      restrict: '--origin same, or --origin https://example.com',
      manual: 'pollywog help origins',
    });
  }
  notify('READY=1', `STATUS=listens on ${listeners.map(({ url }) => url).join(', ')}`);
  if (parent === undefined) process.stdout.write(`${lines.join('\n')}\n`);
  else await parent.ready(lines);
}

/**
 * A link to a listener's page that opens on this machine: all interfaces include the loopback interface.
 * @param hasTls whether the port also accepts TLS
 */
export function linkTo(url: string, hasTls: boolean): string {
  const [, host, port] = /^wss?:\/\/(.*):(\d+)$/.exec(url) ?? [];
  if (host === undefined) return url;
  const reachable = host === '[::]' || host === '0.0.0.0' ? 'localhost' : host;
  return `${hasTls ? 'https' : 'http'}://${reachable}:${port}`;
}

/** Notifications go one after the other, because the last one wins. */
let notifications: Promise<void> = Promise.resolve();

/**
 * Notifies systemd (sd_notify(3)) through the command systemd-notify: the protocol is a datagram on a Unix socket, which
 * Node cannot send. The command is another process, so the unit needs `NotifyAccess=all`. Does nothing without systemd.
 * @param state assignments such as `READY=1`
 */
export function notify(...state: string[]): void {
  if (!process.env['NOTIFY_SOCKET']) return;
  notifications = notifications.then(() => sendNotification(state));
}

/** Resolves when systemd has every notification. */
export function notified(): Promise<void> {
  return notifications;
}

/** systemd compares the time stamp with the time at which it asked for the reload. */
export function notifyReloading(): void {
  notify('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
}

function sendNotification(state: readonly string[]): Promise<void> {
  return new Promise(resolve => {
    execFile('systemd-notify', state, error => {
      if (error !== null) log('warn', 'sd_notify failed', { state: state.join(' '), reason: error.message });
      resolve();
    });
  });
}

/** Resolves when the readers of stdout and stderr have everything, or have stalled. */
export async function drainOutput(): Promise<void> {
  await Promise.all([drainStream(process.stdout), drainStream(process.stderr)]);
}

async function drainStream(stream: WriteStream): Promise<void> {
  for (;;) {
    const before = stream.writableLength;
    if (before === 0) return;
    await Promise.race([
      new Promise<void>(resolve => {
        stream.write('', () => resolve());
      }),
      new Promise<void>(resolve => {
        setTimeout(resolve, outputDrainTimeout);
      }),
    ]);
    if (stream.writableLength >= before) return;
  }
}
