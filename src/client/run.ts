/** Runs the client: dial, send stdin, print messages, and dial again if asked to. */
import { Buffer } from 'node:buffer';
import { setTimeout as delay } from 'node:timers/promises';
import type { SecureContext } from 'node:tls';
import { checkStdin } from '../options/file.ts';
import { type ClientConfiguration, chatSubprotocol } from './configuration.ts';
import { dial, type OpenConnection, readIdentity } from './dial.ts';
import { type Dialect, newChatDialect, newPlainDialect } from './dialects.ts';
import { type Batch, type MessageSource, newMessageSource, readMessages } from './input.ts';
import { done, ExitCode, type Outcome, outcome, showDuration } from './outcome.ts';
import { type ClientOutput, newClientOutput } from './output.ts';
import { openSessionRecorder, type SessionRecorder } from './recordings/record.ts';
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

/** The state of the client across connections. */
interface ClientRun {
  readonly configuration: ClientConfiguration;
  readonly output: ClientOutput;
  readonly dialect: Dialect;
  readonly isInteractive: boolean;
  /** The number of messages printed. */
  printed: number;
  /** Records the current session, with `--record`. */
  recorder: SessionRecorder | undefined;
}

/** The close frame that a signal sends. RFC 6455 §7.4.1 [7.4.1-b]. */
const goingAway = { code: 1001, reason: '' };
const signals = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * @returns the exit code, after reporting the outcome on stderr
 * @throws UsageError for files that cannot be used, or a stdin that cannot be read
 */
export async function runClient(configuration: ClientConfiguration): Promise<number> {
  if (configuration.send.length === 0) checkStdin();
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
  const run: ClientRun = { configuration, output, dialect, isInteractive, printed: 0, recorder: undefined };
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
  const stdinSource =
    configuration.send.length > 0 ? undefined : newMessageSource(readInput(configuration, terminal));
  let session: ClientSession | undefined;
  installStopHandlers(run, terminal, () => session);
  const { recording, address } = configuration;
  for (let failures = 0, dials = 1; ; failures++, dials++) {
    if (recording !== undefined)
      run.recorder = openSessionRecorder(recording.path, recording.hasCredentials, address.shown, dials);
    const trace = (lines: readonly string[]) => {
      if (configuration.verbose) output.notice(...lines);
    };
    const connection = await dial(configuration, identity, trace, run.recorder?.observe);
    let last: Outcome;
    if ('exit' in connection) {
      last = connection;
      run.recorder?.end(connection.sentence);
    } else {
      const openedAt = Date.now();
      session = openSession(
        run,
        connection,
        terminal,
        stdinSource ?? newMessageSource(oneBatch(configuration.send)),
      );
      const ended = await session.ended;
      run.recorder?.end(ended.sentence);
      last = finalOutcome(run, ended);
      if (Date.now() - openedAt >= stableTime) failures = 0;
    }
    if (!configuration.reconnect || !last.isRetryable) return last;
    const wait = reconnectDelay(failures, Math.random());
    const why = last.sentence === '' ? 'the server is going away' : last.sentence;
    output.notice(`pollywog-client: ${why}; dialing again in ${showDuration(wait)}`);
    await delay(wait);
  }
}

function openSession(
  run: ClientRun,
  connection: OpenConnection,
  terminal: Terminal | undefined,
  source: MessageSource,
): ClientSession {
  const { configuration, output, dialect } = run;
  const { subprotocol } = connection.agreement;
  const session: ClientSession = startSession(
    connection,
    configuration,
    newSessionListener(run, () => session),
  );
  output.onDrain = () => resumeReading(session);
  if (configuration.chat !== undefined && subprotocol !== chatSubprotocol) {
    const sentence = `the server does not speak ${chatSubprotocol}`;
    startClose(session, { code: 1000, reason: '' }, outcome(ExitCode.Refused, sentence));
    return session;
  }
  // RFC 6455 §4.1: a server may choose no subprotocol. It may then expect another protocol, so the user must know.
  if (subprotocol === undefined && configuration.request.subprotocols.length > 0) {
    output.notice('pollywog-client: the server chose none of the offered subprotocols');
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

function readInput(configuration: ClientConfiguration, terminal: Terminal | undefined): AsyncIterable<Batch> {
  if (terminal === undefined) return readMessages(process.stdin, configuration);
  if (configuration.framing === 'lines') return terminal.lines;
  return readMessages(withNewlines(terminal.lines), configuration);
}

async function* withNewlines(lines: AsyncIterable<Batch>): AsyncGenerator<Buffer> {
  for await (const batch of lines) yield Buffer.concat([...batch, Buffer.from('\n')]);
}

async function* oneBatch(texts: readonly string[]): AsyncGenerator<Batch> {
  yield texts.map(text => Buffer.from(text));
}

/** A signal, or a closed stdout, closes the connection; a second signal exits at once. */
function installStopHandlers(
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

/** Milliseconds. */
const firstDelay = 1000;
const maxDelay = 30_000;

/** A connection that lasted this long resets the delay. */
const stableTime = maxDelay;

/**
 * The delay before dialing again: exponential backoff with jitter, so that many clients do not reconnect at once.
 * @param failures the number of failed attempts since the last stable connection
 * @param chance a random number, at least 0 and less than 1
 * @returns milliseconds: 500 to 1000 at first, then doubled, up to 30,000
 */
export function reconnectDelay(failures: number, chance: number): number {
  // RFC 6455 §7.2.3 [7.2.3-1, 7.2.3-4]: truncated exponential backoff.
  const full = Math.min(maxDelay, firstDelay * 2 ** failures);
  // RFC 6455 §7.2.3 [7.2.3-2, 7.2.3-3]: a random delay.
  return full / 2 + (full / 2) * chance;
}

/** Prints messages, and closes after `--count` of them. */
function newSessionListener(run: ClientRun, session: () => ClientSession): SessionListener {
  const { configuration, output, dialect } = run;
  const { count, close } = configuration;
  return {
    message(message) {
      if (count > 0 && run.printed >= count) return false;
      run.printed += dialect.printMessage(session(), message);
      if (count > 0 && run.printed >= count) startClose(session(), close);
      return true;
    },
    flush: () => output.flush(),
    trace: lines => output.notice(...lines),
    observe: run.recorder?.observe,
  };
}

/** Sends the source's messages while the connection is open, then closes as `--wait` says. */
async function sendInput(run: ClientRun, session: ClientSession, source: MessageSource): Promise<void> {
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

/** Whether stdin is sent as one fragmented message. */
function isStreamed({ framing, send }: ClientConfiguration): boolean {
  return framing === 'binary' && send.length === 0;
}

/** Milliseconds without a message after which `--wait quiet` closes. */
const quietTime = 1000;

/** Everything is sent: closes at once at a terminal; a script waits for answers. */
function closeWhenDue(run: ClientRun, session: ClientSession): void {
  const { wait, count, close } = run.configuration;
  if (run.isInteractive || (wait === 0 && count === 0)) return startClose(session, close);
  if (wait === 'quiet' && count === 0) return closeWhenQuiet(session, close, quietTime);
  if (wait === 'quiet' || wait === 0 || wait === Number.POSITIVE_INFINITY) return;
  const timer = setTimeout(() => {
    const late = `${run.printed} of ${count} messages came within ${showDuration(wait)} (--wait)`;
    startClose(session, close, run.printed < count ? outcome(ExitCode.TimedOut, late) : undefined);
  }, wait);
  void session.ended.then(() => clearTimeout(timer));
}

/** The outcome of a session: a close before `--count` messages is a failure. */
function finalOutcome(run: ClientRun, { exit, sentence, isRetryable }: Outcome): Outcome {
  const { count } = run.configuration;
  // An interactive user sees how the session ended; a script sees nothing if it went well.
  if (exit !== ExitCode.Done || run.isInteractive) return { exit, sentence, isRetryable };
  if (count === 0 || run.printed >= count) return { ...done, isRetryable };
  return outcome(ExitCode.Closed, `closed after ${run.printed} of ${count} messages`, isRetryable);
}
