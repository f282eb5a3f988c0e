/**
 * Tells systemd how it goes (sd_notify(3)): ready, reloading, stopping. That takes a datagram on a Unix socket, which Node
 * cannot send; the command systemd-notify, which is there wherever systemd is, does. It is a process of its own, so the
 * unit has to say `NotifyAccess=all`. Where nobody wants to be told (no `NOTIFY_SOCKET`), nothing is done.
 */
import { execFile } from 'node:child_process';
import { log } from '../log/log.ts';

/** One after the other: what is said last is what holds. */
let said: Promise<void> = Promise.resolve();

/** @param state assignments such as `READY=1` */
export function notify(...state: string[]): void {
  if (!process.env['NOTIFY_SOCKET']) return;
  said = said.then(() => send(state));
}

/** Resolves when all was said. */
export function notified(): Promise<void> {
  return said;
}

/** systemd takes a reload for the one it asked for if this is not from before it did. */
export function notifyReloading(): void {
  notify('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
}

function send(state: readonly string[]): Promise<void> {
  return new Promise(resolve => {
    execFile('systemd-notify', state, error => {
      if (error !== null) log('warn', 'systemd not told', { state: state.join(' '), reason: error.message });
      resolve();
    });
  });
}
