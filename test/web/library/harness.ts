/** Runs the client library against a fake server, with a fake clock. */
import { mock } from 'node:test';
import type { Message, Options } from '../../../src/web/library/pollywog.ts';
import { type FakeChannels, newFakeChannels } from '../../support/fakeChannels.ts';
import { newFakeLocks } from '../../support/fakeLocks.ts';

/** The library reads the storage when it is loaded. */
export const storage: Record<string, unknown> = {};
define('sessionStorage', storage);
const { subscribe } = await import('../../../src/web/library/pollywog.ts');

export interface Seen {
  /** The data of the messages, and gaps as `gap: CHANNELS`. */
  readonly log: unknown[];
  readonly messages: Message[];
  /** As `open websocket`. */
  readonly states: string[];
  close(): void;
}

export interface Harness {
  readonly server: FakeChannels;
  /** What `reportError` was called with. */
  readonly reported: unknown[];
  /** The window's events. */
  readonly window: EventTarget;
  subscribe(
    channels: string | readonly string[],
    options?: Options,
    onMessage?: (message: Message) => void,
  ): Seen;
  /** Lets this many milliseconds pass. */
  pass(time: number): Promise<void>;
  end(): void;
}

function define(name: string, value: unknown): void {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

/** Waits for a state that follows without the clock. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise(setImmediate);
}

/** Lets everything run that needs no clock: promises, and messages between tabs. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 30; turn++) await new Promise(setImmediate);
}

/** The longest jitter, so that waits are known. */
export function newHarness(): Harness {
  for (const key of Object.keys(storage)) delete storage[key];
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_700_000_000_000 });
  mock.method(Math, 'random', () => 1);
  const server = newFakeChannels();
  const window = new EventTarget();
  const reported: unknown[] = [];
  define('WebSocket', server.WebSocket);
  define('fetch', server.fetch);
  define('navigator', { locks: newFakeLocks() });
  define('addEventListener', window.addEventListener.bind(window));
  define('reportError', (error: unknown) => reported.push(error));
  const subscriptions: Seen[] = [];
  return {
    server,
    reported,
    window,
    subscribe(channels, options, onMessage) {
      const log: unknown[] = [];
      const messages: Message[] = [];
      const states: string[] = [];
      const callbacks = {
        message(message: Message) {
          log.push(message.data);
          messages.push(message);
          onMessage?.(message);
        },
        gap: (lost: readonly string[]) => log.push(`gap: ${lost}`),
        state: (state: string, detail: string) => states.push(`${state} ${detail}`.trim()),
      };
      const subscription = subscribe(channels, callbacks, { url: 'http://server.example', ...options });
      const seen = { log, messages, states, close: subscription.close };
      subscriptions.push(seen);
      return seen;
    },
    async pass(time) {
      await settle();
      mock.timers.tick(time);
      await settle();
    },
    end() {
      for (const subscription of subscriptions) subscription.close();
      mock.timers.reset();
      mock.restoreAll();
    },
  };
}
