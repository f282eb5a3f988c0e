/** Dial, talk, and maybe again. */
import { Buffer } from 'node:buffer';
import { setTimeout as delay } from 'node:timers/promises';
import type { SecureContext } from 'node:tls';
import { type ClientConfiguration, chatSubprotocol } from './configuration.ts';
import { dial, type OpenConnection, readIdentity } from './dial.ts';
import { type Dialect, newChatDialect, newPlainDialect } from './dialects.ts';
import { type Batch, type MessageSource, newMessageSource, readMessages } from './input.ts';
import { done, ExitCode, type Outcome, outcome, showTime } from './outcome.ts';
import { type ClientOutput, newClientOutput } from './output.ts';
import {
  type ClientSession,
  closeWhenQuiet,
  isBackpressured,
  isOpen,
  resumeReading,
  type SessionListener,
  sendFragment,
  startClose,
  startSession,
  untilChange,
} from './session.ts';
import { openTerminal, type Terminal } from './terminal.ts';

/** What a session is told when this program is. */
const goingAway = { code: 1001, reason: '' };
const signals = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * @returns the exit code; what there is to say was said on stderr
 * @throws UsageError for files that cannot be used
 */
export async function runClient(configuration: ClientConfiguration): Promise<number> {
  const identity = await readIdentity(configuration);
  const isInteractive =
    process.stdin.isTTY === true &&
    configuration.send.length === 0 &&
    (configuration.framing === 'lines' || configuration.framing === 'json');
  const terminal = isInteractive ? openTerminal() : undefined;
  const output = newClientOutput(configuration.framing, terminal);
  const dialect =
    configuration.chat === undefined
      ? newPlainDialect(output)
      : newChatDialect(configuration.chat, output, isInteractive);
  const run: ClientRun = { configuration, output, dialect, isInteractive, printed: 0 };
  const last = await dialUntilDone(run, identity, terminal);
  output.flush();
  terminal?.close();
  if (last.sentence !== '') output.notice(`pollywog-client: ${last.sentence}`);
  return last.exit;
}

async function dialUntilDone(
  run: ClientRun,
  identity: SecureContext | undefined,
  terminal: Terminal | undefined,
): Promise<Outcome> {
  const { configuration, output } = run;
  const typed =
    configuration.send.length > 0 ? undefined : newMessageSource(readTyped(configuration, terminal));
  let session: ClientSession | undefined;
  onStop(run, terminal, () => session);
  for (let failures = 0; ; failures++) {
    const link = await dial(configuration, identity, lines => {
      if (configuration.verbose) output.notice(...lines);
    });
    let outcome: Outcome;
    if ('exit' in link) {
      outcome = link;
    } else {
      const onOpen = Date.now();
      session = openTalk(run, link, terminal, typed ?? newMessageSource(fixed(configuration.send)));
      outcome = finalOutcome(run, await session.ended);
      if (Date.now() - onOpen >= goodTime) failures = 0;
    }
    if (!configuration.reconnect || !outcome.isRetryable) return outcome;
    const wait = reconnectDelay(failures, Math.random());
    const why = outcome.sentence === '' ? 'the server is going away' : outcome.sentence;
    output.notice(`pollywog-client: ${why}; dialing again in ${showTime(wait)}`);
    await delay(wait);
  }
}

function openTalk(
  run: ClientRun,
  link: OpenConnection,
  terminal: Terminal | undefined,
  source: MessageSource,
): ClientSession {
  const { configuration, output, dialect } = run;
  const { subprotocol } = link.agreement;
  const session: ClientSession = startSession(
    link,
    configuration,
    newSessionListener(run, () => session),
  );
  output.onRoom = () => resumeReading(session);
  if (configuration.chat !== undefined && subprotocol !== chatSubprotocol) {
    const sentence = `the server does not speak ${chatSubprotocol}`;
    startClose(session, { code: 1000, reason: '' }, outcome(ExitCode.Refused, sentence));
    return session;
  }
  // RFC 6455 §4.1: a server may choose none. It has to be known, as it may take us for something else.
  if (subprotocol === undefined && configuration.request.subprotocols.length > 0) {
    output.notice('pollywog-client: the server chose none of the subprotocols');
  }
  if (run.isInteractive) {
    const spoken = subprotocol === undefined ? '' : `, subprotocol ${subprotocol}`;
    output.notice(`connected to ${configuration.address.shown}${spoken}; Ctrl-D leaves`);
  }
  terminal?.prompt();
  dialect.onOpen(session);
  void sendInput(run, session, source);
  return session;
}

function readTyped(configuration: ClientConfiguration, terminal: Terminal | undefined): AsyncIterable<Batch> {
  if (terminal === undefined) return readMessages(process.stdin, configuration);
  if (configuration.framing === 'lines') return terminal.lines;
  return readMessages(withNewlines(terminal.lines), configuration);
}

async function* withNewlines(lines: AsyncIterable<Batch>): AsyncGenerator<Buffer> {
  for await (const batch of lines) yield Buffer.concat([...batch, Buffer.from('\n')]);
}

async function* fixed(texts: readonly string[]): AsyncGenerator<Batch> {
  yield texts.map(text => Buffer.from(text));
}

/** A signal, or stdout that nobody reads any more, closes the connection; a second signal ends at once. */
function onStop(
  run: ClientRun,
  terminal: Terminal | undefined,
  current: () => ClientSession | undefined,
): void {
  let isStopping = false;
  const stop = (verdict: Outcome) => {
    const session = current();
    if (isStopping || session === undefined || session.endpoint.state === 'CLOSED') {
      terminal?.close();
      process.exit(verdict.exit);
    }
    isStopping = true;
    startClose(session, goingAway, verdict);
    session.verdict = verdict;
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => stop({ ...done, exit: signals[signal] }));
  }
  if (terminal !== undefined) terminal.onInterrupt = () => stop({ ...done, exit: signals.SIGINT });
  run.output.onGone = error => {
    if (isStopping) return;
    stop(
      error.code === 'EPIPE' ? done : outcome(ExitCode.Failed, `cannot write to stdout: ${error.message}`),
    );
  };
}

/** When to dial again: ever later, and not all clients at the same moment. */

const first = 1000;
const longest = 30_000;

/** A connection that stayed for so long was a good one: the next wait is a short one again. */
export const goodTime = longest;

/**
 * @param failures how many attempts failed since the last good one, from 0
 * @param chance at least 0, less than 1
 * @returns milliseconds: half a second to one, then twice that, to half a minute at most
 */
export function reconnectDelay(failures: number, chance: number): number {
  const full = Math.min(longest, first * 2 ** failures);
  return full / 2 + (full / 2) * chance;
}

/** One connection's talk: what is to be sent goes out, what comes is heard, until there is an end. */

/** All that one run of the client has, whichever connection it is at. */
export interface ClientRun {
  readonly configuration: ClientConfiguration;
  readonly output: ClientOutput;
  readonly dialect: Dialect;
  readonly isInteractive: boolean;
  /** Messages heard so far. */
  printed: number;
}

/** Prints what comes, and leaves when it was enough. */
export function newSessionListener(run: ClientRun, session: () => ClientSession): SessionListener {
  const { configuration, output, dialect } = run;
  const { count, close } = configuration;
  return {
    message(message) {
      if (count > 0 && run.printed >= count) return false;
      run.printed += dialect.printMessage(session(), message);
      if (count > 0 && run.printed >= count) startClose(session(), close);
      return true;
    },
    settled: () => output.flush(),
    trace: lines => output.notice(...lines),
  };
}

/** Sends what `source` has while the connection is open, then closes it when that is due. */
export async function sendInput(
  run: ClientRun,
  session: ClientSession,
  source: MessageSource,
): Promise<void> {
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
      startClose(session, configuration.close, outcome(ExitCode.Failed, fault.message));
      return;
    }
    if (result?.done) break;
    source.take();
    const batch: Batch = result?.value ?? [];
    session.socket.cork();
    for (const text of batch) {
      if (!isStreamed(configuration)) dialect.sendText(session, text);
      else sendFragment(session, isFirst, false, text);
      isFirst = false;
    }
    session.socket.uncork();
    while (isOpen(session) && isBackpressured(session)) await untilChange(session);
  }
  if (isStreamed(configuration)) sendFragment(session, isFirst, true, Buffer.alloc(0));
  closeWhenDue(run, session);
}

/** Whether stdin is one message, sent as it comes. */
function isStreamed({ framing, send }: ClientConfiguration): boolean {
  return framing === 'binary' && send.length === 0;
}

/** How long `--wait quiet` waits for the next message. */
const quietTime = 1000;

/** All is sent. At a terminal the end of input means the end; a script gets answers, which may take a while. */
function closeWhenDue(run: ClientRun, session: ClientSession): void {
  const { wait, count, close } = run.configuration;
  if (run.isInteractive || (wait === 0 && count === 0)) return startClose(session, close);
  if (wait === 'quiet' && count === 0) return closeWhenQuiet(session, close, quietTime);
  if (wait === 'quiet' || wait === 0 || wait === Number.POSITIVE_INFINITY) return;
  const timer = setTimeout(() => {
    const late = `${run.printed} of ${count} messages came within ${showTime(wait)} (--wait)`;
    startClose(session, close, run.printed < count ? outcome(ExitCode.TimedOut, late) : undefined);
  }, wait);
  void session.ended.then(() => clearTimeout(timer));
}

/** What became of it: a server that closes before all that was waited for had come, closed too early. */
export function finalOutcome(run: ClientRun, { exit, sentence, isRetryable }: Outcome): Outcome {
  const { count } = run.configuration;
  // Who types is told why that is over; of what went well a script hears nothing.
  if (exit !== ExitCode.Done || run.isInteractive) return { exit, sentence, isRetryable };
  if (count === 0 || run.printed >= count) return { ...done, isRetryable };
  return outcome(ExitCode.Closed, `closed after ${run.printed} of ${count} messages`, isRetryable);
}
