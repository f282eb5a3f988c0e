/** Dial, talk, and maybe again. */
import { Buffer } from 'node:buffer';
import { setTimeout as delay } from 'node:timers/promises';
import type { SecureContext } from 'node:tls';
import { newChatDialect } from './chat.ts';
import { type Configuration, chatSubprotocol } from './configuration.ts';
import { dial, type Link } from './dial.ts';
import { newPlainDialect } from './dialect.ts';
import { done, type Ending, Exit, ending, shownTime } from './ending.ts';
import { readIdentity } from './identity.ts';
import { type Batch, newSource, readMessages, type Source } from './input.ts';
import { newOutput } from './output.ts';
import { goodTime, reconnectDelay } from './reconnect.ts';
import { closeSession, openSession, resume, type Session } from './session.ts';
import { feed, judge, newListener, type Run } from './talk.ts';
import { openTerminal, type Terminal } from './terminal.ts';

/** What a session is told when this program is. */
const goingAway = { code: 1001, reason: '' };
const signals = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * @returns the exit code; what there is to say was said on stderr
 * @throws UsageError for files that cannot be used
 */
export async function runClient(configuration: Configuration): Promise<number> {
  const identity = await readIdentity(configuration);
  const isInteractive =
    process.stdin.isTTY === true &&
    configuration.send.length === 0 &&
    (configuration.framing === 'lines' || configuration.framing === 'json');
  const terminal = isInteractive ? openTerminal() : undefined;
  const output = newOutput(configuration.framing, terminal);
  const dialect =
    configuration.chat === undefined
      ? newPlainDialect(output)
      : newChatDialect(configuration.chat, output, isInteractive);
  const run: Run = { configuration, output, dialect, isInteractive, heard: 0 };
  const last = await dialUntilDone(run, identity, terminal);
  output.flush();
  terminal?.close();
  if (last.sentence !== '') output.notice(`pollywog-client: ${last.sentence}`);
  return last.exit;
}

async function dialUntilDone(
  run: Run,
  identity: SecureContext | undefined,
  terminal: Terminal | undefined,
): Promise<Ending> {
  const { configuration, output } = run;
  const typed = configuration.send.length > 0 ? undefined : newSource(readTyped(configuration, terminal));
  let session: Session | undefined;
  onStop(run, terminal, () => session);
  for (let failures = 0; ; failures++) {
    const link = await dial(configuration, identity, lines => {
      if (configuration.verbose) output.notice(...lines);
    });
    let ending: Ending;
    if ('exit' in link) {
      ending = link;
    } else {
      const opened = Date.now();
      session = openTalk(run, link, terminal, typed ?? newSource(fixed(configuration.send)));
      ending = judge(run, await session.ended);
      if (Date.now() - opened >= goodTime) failures = 0;
    }
    if (!configuration.reconnect || !ending.isPassing) return ending;
    const wait = reconnectDelay(failures, Math.random());
    const why = ending.sentence === '' ? 'the server is going away' : ending.sentence;
    output.notice(`pollywog-client: ${why}; dialing again in ${shownTime(wait)}`);
    await delay(wait);
  }
}

function openTalk(run: Run, link: Link, terminal: Terminal | undefined, source: Source): Session {
  const { configuration, output, dialect } = run;
  const { subprotocol } = link.agreement;
  const session: Session = openSession(
    link,
    configuration,
    newListener(run, () => session),
  );
  output.onRoom = () => resume(session);
  if (configuration.chat !== undefined && subprotocol !== chatSubprotocol) {
    const sentence = `the server does not speak ${chatSubprotocol}`;
    closeSession(session, { code: 1000, reason: '' }, ending(Exit.Refused, sentence));
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
  dialect.opened(session);
  void feed(run, session, source);
  return session;
}

function readTyped(configuration: Configuration, terminal: Terminal | undefined): AsyncIterable<Batch> {
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
function onStop(run: Run, terminal: Terminal | undefined, current: () => Session | undefined): void {
  let isStopping = false;
  const stop = (verdict: Ending) => {
    const session = current();
    if (isStopping || session === undefined || session.endpoint.state === 'CLOSED') {
      terminal?.close();
      process.exit(verdict.exit);
    }
    isStopping = true;
    closeSession(session, goingAway, verdict);
    session.verdict = verdict;
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => stop({ ...done, exit: signals[signal] }));
  }
  if (terminal !== undefined) terminal.onInterrupt = () => stop({ ...done, exit: signals.SIGINT });
  run.output.onGone = error => {
    if (isStopping) return;
    stop(error.code === 'EPIPE' ? done : ending(Exit.Failed, `cannot write to stdout: ${error.message}`));
  };
}
