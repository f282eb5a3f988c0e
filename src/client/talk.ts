/** One connection's talk: what is to be sent goes out, what comes is printed, until there is an end. */
import type { Configuration } from './configuration.ts';
import type { Dialect } from './dialect.ts';
import { done, type Ending, Exit, ending, shownTime } from './ending.ts';
import type { Batch, Source } from './input.ts';
import type { Output } from './output.ts';
import {
  closeSession,
  closeWhenQuiet,
  isFull,
  isOpen,
  type Listener,
  type Session,
  sendFragment,
  untilChange,
} from './session.ts';

/** All that one run of the client has, whichever connection it is at. */
export interface Run {
  readonly configuration: Configuration;
  readonly output: Output;
  readonly dialect: Dialect;
  readonly isInteractive: boolean;
  /** Messages printed so far. */
  heard: number;
}

/** Prints what comes, and leaves when it was enough. */
export function newListener(run: Run, session: () => Session): Listener {
  const { configuration, output, dialect } = run;
  const { count, close } = configuration;
  return {
    message(message) {
      if (count > 0 && run.heard >= count) return false;
      run.heard += dialect.hear(session(), message);
      if (count > 0 && run.heard >= count) closeSession(session(), close);
      return true;
    },
    settled: () => output.flush(),
    trace: lines => output.notice(...lines),
  };
}

/** Sends what `source` has while the connection is open, then closes it when that is due. */
export async function feed(run: Run, session: Session, source: Source): Promise<void> {
  const { configuration, dialect } = run;
  while (isOpen(session) && !dialect.isReady()) await untilChange(session);
  let isFirst = true;
  for (;;) {
    let result: IteratorResult<Batch, unknown> | undefined;
    let fault: Error | undefined;
    source.next().then(
      value => {
        result = value;
        session.wake();
      },
      error => {
        fault = error;
        session.wake();
      },
    );
    while (isOpen(session) && result === undefined && fault === undefined) await untilChange(session);
    if (!isOpen(session)) return;
    if (fault !== undefined) {
      closeSession(session, configuration.close, ending(Exit.Failed, fault.message));
      return;
    }
    if (result?.done) break;
    source.take();
    const batch: Batch = result?.value ?? [];
    session.socket.cork();
    for (const text of batch) {
      if (!isStreamed(configuration)) dialect.say(session, text);
      else sendFragment(session, isFirst, false, text);
      isFirst = false;
    }
    session.socket.uncork();
    while (isOpen(session) && isFull(session)) await untilChange(session);
  }
  if (isStreamed(configuration)) sendFragment(session, isFirst, true, Buffer.alloc(0));
  closeWhenDue(run, session);
}

/** Whether stdin is one message, sent as it comes. */
function isStreamed({ framing, send }: Configuration): boolean {
  return framing === 'binary' && send.length === 0;
}

/** How long `--wait quiet` waits for the next message. */
const quietTime = 1000;

/** All is sent. At a terminal the end of input means the end; a script gets answers, which may take a while. */
function closeWhenDue(run: Run, session: Session): void {
  const { wait, count, close } = run.configuration;
  if (run.isInteractive || (wait === 0 && count === 0)) return closeSession(session, close);
  if (wait === 'quiet' && count === 0) return closeWhenQuiet(session, close, quietTime);
  if (wait === 'quiet' || wait === 0 || wait === Number.POSITIVE_INFINITY) return;
  const timer = setTimeout(() => {
    const late = `${run.heard} of ${count} messages came within ${shownTime(wait)} (--wait)`;
    closeSession(session, close, run.heard < count ? ending(Exit.TimedOut, late) : undefined);
  }, wait);
  void session.ended.then(() => clearTimeout(timer));
}

/** What became of it: a server that closes before all that was waited for had come, closed too early. */
export function judge(run: Run, { exit, sentence, isPassing }: Ending): Ending {
  const { count } = run.configuration;
  // Who types is told why that is over; of what went well a script hears nothing.
  if (exit !== Exit.Done || run.isInteractive) return { exit, sentence, isPassing };
  if (count === 0 || run.heard >= count) return { ...done, isPassing };
  return ending(Exit.Closed, `closed after ${run.heard} of ${count} messages`, isPassing);
}
