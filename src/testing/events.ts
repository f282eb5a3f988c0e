/** The last events of a server in a test's process: `waitFor` searches them, and loops read them. */

import { type LogEvent, type LogSource, observeLog } from '../log/log.ts';
import { printableJson } from '../log/printable.ts';
import { timerDelay } from '../options/values.ts';
import { defaultEventWait, maxKeptEvents } from '../protocol/testLimits.ts';
import type { ServerEvent, WaitOptions } from './interface.ts';

/** A ring of the events with the numbers `[first, next)`: a slow reader costs no memory. */
export interface EventRing {
  readonly events: ServerEvent[];
  first: number;
  next: number;
  isClosed: boolean;
  /** Called after each event and at the end. */
  readonly listeners: Set<() => void>;
}

/** Keeps the events of this source. */
export function openEvents(source: LogSource): { readonly ring: EventRing; readonly close: () => void } {
  const ring: EventRing = { events: [], first: 1, next: 1, isClosed: false, listeners: new Set() };
  const end = observeLog(source, event => keepEvent(ring, event));
  const close = () => {
    end();
    ring.isClosed = true;
    notify(ring);
  };
  return { ring, close };
}

function keepEvent(ring: EventRing, event: LogEvent): void {
  ring.events[ring.next % maxKeptEvents] = { ...event, number: ring.next } as ServerEvent;
  ring.next++;
  if (ring.next - ring.first > maxKeptEvents) ring.first++;
  notify(ring);
}

function notify({ listeners }: EventRing): void {
  for (const listener of listeners) listener();
}

/** Forgets the events so far. Readers continue with the next one, without an event `events lost`. */
export function forgetEvents(ring: EventRing): void {
  ring.first = ring.next;
  ring.events.length = 0;
}

/** All kept and future events, until the server closes. Each loop has its own position. */
export async function* readEvents(ring: EventRing): AsyncGenerator<ServerEvent, void> {
  // Events count as lost if the ring was full, but not if `forgetEvents` dropped them.
  let { first: forgotten } = ring;
  let at = forgotten;
  for (;;) {
    if (at < ring.first && ring.next - ring.first === maxKeptEvents) {
      const lost = ring.first - Math.max(at, forgotten);
      if (lost > 0) yield lostEvent(ring.first - 1, lost);
    }
    forgotten = ring.first;
    at = Math.max(at, ring.first);
    if (at < ring.next) yield ring.events[at++ % maxKeptEvents]!;
    else if (ring.isClosed) return;
    else await untilNext(ring);
  }
}

/** @param number the number of the last lost event */
function lostEvent(number: number, count: number): ServerEvent {
  return { number, time: new Date().toISOString(), level: 'warn', event: 'events lost', count };
}

function untilNext({ listeners }: EventRing): Promise<void> {
  return new Promise(resolve => {
    const listener = () => {
      listeners.delete(listener);
      resolve();
    };
    listeners.add(listener);
  });
}

/** The number of events that a failed wait shows. */
const maxShownEvents = 10;

/**
 * Resolves to the first event that `isWanted` accepts, kept or future.
 * @throws Error with the last events, after the timeout or when the server closes; an error of `isWanted`
 */
export function waitForEvent(
  ring: EventRing,
  isWanted: (event: ServerEvent) => boolean,
  { timeout = defaultEventWait, after }: WaitOptions = {},
): Promise<ServerEvent> {
  return new Promise((resolve, reject) => {
    let at = (after?.number ?? 0) + 1;
    let timer: NodeJS.Timeout | undefined;
    const settle = (act: () => void) => {
      clearTimeout(timer);
      ring.listeners.delete(look);
      act();
    };
    const look = () => {
      try {
        for (at = Math.max(at, ring.first); at < ring.next; at++) {
          const event = ring.events[at % maxKeptEvents]!;
          if (isWanted(event)) return settle(() => resolve(event));
        }
        if (ring.isClosed)
          settle(() => reject(new Error(`the server closed before such an event; ${lastOf(ring)}`)));
      } catch (error) {
        settle(() => reject(error));
      }
    };
    ring.listeners.add(look);
    if (timeout > 0)
      timer = setTimeout(
        () => settle(() => reject(new Error(`no such event within ${timeout / 1000} s; ${lastOf(ring)}`))),
        timerDelay(timeout),
      );
    look();
  });
}

function lastOf({ events, first, next }: EventRing): string {
  const shown: string[] = [];
  for (let at = Math.max(first, next - maxShownEvents); at < next; at++) {
    const { number: _, time: __, level: ___, event, ...fields } = events[at % maxKeptEvents]!;
    shown.push(`\n  ${event} ${printableJson(fields)}`);
  }
  return shown.length === 0 ? 'there were none' : `the last events were:${shown.join('')}`;
}
