/**
 * `--replay`: plays the client's side of recordings against a server, and compares the server's messages.
 *
 * Before each action, the replay waits in all sessions for everything that the recorded server had sent by then. Before another
 * session acts, a ping ensures that the server has read the last action. So the server reads all sessions in the recorded order, at
 * any speed. Only frames that the recorded server read in one turn are sent together.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { SecureContext } from 'node:tls';
import { timerDelay } from '../../options/values.ts';
import { Opcode } from '../../protocol/codes.ts';
import { isToken, splitList } from '../../protocol/http/fields.ts';
import { hidden } from '../../protocol/http/redact.ts';
import { replayPatience } from '../../protocol/recordingLimits.ts';
import type { HandshakeRequest } from '../../protocol/websocket/clientHandshake.ts';
import type { Recording, RequestEvent, ResponseEvent } from '../../recordings/recording.ts';
import {
  type Arrived,
  type Expected,
  firstDifference,
  isAsExpected,
  planReplay,
  type ReplayStep,
  showExpected,
} from '../../recordings/replay.ts';
import type { ClientConfiguration } from '../configuration.ts';
import { dial, readIdentity } from '../dial.ts';
import { ExitCode, type Outcome, showDuration, terminalSafe } from '../outcome.ts';
import { readRecordings } from './files.ts';
import {
  closeReplayPeer,
  leaveReplayPeer,
  openReplayPeer,
  type ReplayPeer,
  sendRaw,
  sendReplayClose,
  sendWhole,
  takeArrived,
} from './peer.ts';

type ExpectedStep = Omit<ReplayStep, 'action'> & { readonly expected: Expected };

interface ReplaySession {
  readonly recording: Recording;
  /** Undefined before its handshake. */
  peer: ReplayPeer | undefined;
  /** The next expected arrivals, with their lines and times in the recording. */
  readonly expected: ExpectedStep[];
  /** The first difference. The session then continues, since others depend on it, but is no longer compared. */
  difference: { readonly line: number; readonly sentence: string } | undefined;
  compared: number;
}

interface Replay {
  readonly configuration: ClientConfiguration;
  readonly identity: SecureContext | undefined;
  readonly sessions: readonly ReplaySession[];
  /** Resolves the pending `untilChange`. */
  wake: () => void;
  /** The recorded time of the last action. */
  at: number;
  sent: number;
  barriers: number;
}

/** Receives the summary (`out`) and the differences (`error`). */
export interface ReplayOutput {
  out(text: string): void;
  error(text: string): void;
}

const printed: ReplayOutput = {
  out: text => void process.stdout.write(text),
  error: text => void process.stderr.write(text),
};

/** @returns the exit code: 1 if the server's messages differ @throws UsageError */
export async function runReplay(
  configuration: ClientConfiguration,
  output: ReplayOutput = printed,
): Promise<number> {
  const { paths, speed } = configuration.replay!;
  const recordings = readRecordings(paths);
  const replay: Replay = {
    configuration,
    identity: await readIdentity(configuration),
    sessions: recordings.map(recording => ({
      ...{ recording, peer: undefined, expected: [], difference: undefined, compared: 0 },
    })),
    ...{ wake: () => {}, at: 0, sent: 0, barriers: 0 },
  };
  const begun = performance.now();
  /** The sessions that sent something in the last group with actions. */
  const actors = new Set<ReplaySession>();
  for (const group of groupsOf(planReplay(recordings))) {
    const actions = group.filter(({ action }) => action.kind !== 'expect');
    const [first] = actions;
    if (first !== undefined) {
      const early = begun + first.at / speed - performance.now();
      if (early > 0) await delay(timerDelay(early));
      await untilArrived(replay);
      const isAlone = actions.every(({ session }) => session === first.session);
      for (const actor of actors)
        if (!isAlone || actor !== replay.sessions[first.session]) await untilRead(replay, actor);
      actors.clear();
    }
    // Expectations come before the actions, since an answer may arrive while another session is opened.
    for (const step of group) expect(replay.sessions[step.session]!, step);
    // Frames that were read together are sent together.
    const corked = actions.flatMap(({ session }) => replay.sessions[session]!.peer?.socket ?? []);
    for (const socket of corked) socket.cork();
    for (const step of actions) {
      const session = replay.sessions[step.session]!;
      const refusal = await perform(replay, session, step);
      if (refusal !== undefined) return report(replay, output, refusal);
      if (step.action.kind !== 'open') actors.add(session);
      replay.at = step.at;
    }
    for (const socket of corked) socket.uncork();
  }
  await untilArrived(replay);
  for (const session of replay.sessions) await untilRead(replay, session);
  for (const session of replay.sessions) checkRest(session);
  await closeAll(replay);
  return report(replay, output, undefined);
}

/** The steps of each group. */
function groupsOf(steps: readonly ReplayStep[]): ReplayStep[][] {
  const groups: ReplayStep[][] = [];
  for (const step of steps) {
    const last = groups.at(-1);
    if (last?.[0]?.group === step.group) last.push(step);
    else groups.push([step]);
  }
  return groups;
}

function expect(session: ReplaySession, { action, ...step }: ReplayStep): void {
  if (action.kind !== 'expect') return;
  session.expected.push({ ...step, expected: action.expected });
  compareArrived(session);
}

/** @returns the outcome of the first handshake if it fails; then the replay ends */
async function perform(
  replay: Replay,
  session: ReplaySession,
  { line, action }: ReplayStep,
): Promise<Outcome | undefined> {
  if (action.kind === 'open') return open(replay, session, line, action);
  const { peer } = session;
  if (peer === undefined || action.kind === 'expect') return undefined;
  replay.sent++;
  if (action.kind === 'close') sendReplayClose(peer, action.payload, action.bytes);
  else if (action.kind === 'leave') leaveReplayPeer(peer);
  else if (action.kind === 'sendFrame') sendWhole(peer, action.opcode, action.payload);
  else sendRaw(peer, action.bytes, action.isWhole);
  return undefined;
}

async function open(
  replay: Replay,
  session: ReplaySession,
  line: number,
  { request, response }: { request: RequestEvent | undefined; response: ResponseEvent | undefined },
): Promise<Outcome | undefined> {
  const { configuration, identity, sessions } = replay;
  const own = { ...configuration, request: requestOf(configuration, request) };
  const connection = await dial(own, identity, () => {});
  if ('exit' in connection) {
    if (sessions.every(({ peer }) => peer === undefined)) return connection;
    session.difference = {
      line,
      sentence: `expected a WebSocket; the handshake failed: ${connection.sentence}`,
    };
    return undefined;
  }
  session.peer = openReplayPeer(connection, configuration.maxMessage, () => {
    compareArrived(session);
    replay.wake();
  });
  const recorded = response?.headers['sec-websocket-protocol'];
  const { subprotocol } = connection.agreement;
  if (response !== undefined && recorded !== subprotocol && recorded !== hidden) {
    const sentence = `expected the subprotocol ${recorded ?? 'none'}; the server chose ${subprotocol ?? 'none'}`;
    session.difference = { line, sentence };
  }
  return undefined;
}

/** Fields that the client writes itself, or that belong to the recorded connection only. */
const ownFields = /^(?:host|connection|upgrade|origin|content-length|transfer-encoding|sec-websocket-.*)$/;

/** The recorded request. The command line overrides it, since it has the credentials that the recording lacks. */
function requestOf(
  { request, address }: ClientConfiguration,
  recorded: RequestEvent | undefined,
): HandshakeRequest {
  if (recorded === undefined) return request;
  const { headers, target } = recorded;
  const given = new Set(Object.keys(request.headers).map(name => name.toLowerCase()));
  const others = Object.entries(headers).filter(
    ([name, value]) =>
      isToken(name) &&
      !ownFields.test(name) &&
      !given.has(name) &&
      !value.includes(hidden) &&
      isSendable(value),
  );
  const offered = splitList(headers['sec-websocket-protocol'] ?? '').filter(isToken);
  const extensions = headers['sec-websocket-extensions'] ?? '';
  return {
    ...request,
    path: address.resource === '/' ? target : request.path,
    subprotocols: request.subprotocols.length > 0 ? request.subprotocols : [...new Set(offered)],
    headers: { ...request.headers, ...Object.fromEntries(others) },
    origin: request.origin ?? headers['origin'],
    compression: !extensions.includes('permessage-deflate')
      ? 'off'
      : extensions.includes('server_no_context_takeover')
        ? 'on'
        : 'takeover',
  };
}

/** Whether a header field may have this value (RFC 9110 §5.5). */
function isSendable(value: string): boolean {
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(value);
}

/** Compares arrivals with expectations until either list is empty. */
function compareArrived(session: ReplaySession): void {
  const { expected, peer } = session;
  while (peer !== undefined && (expected.length > 0 || session.difference !== undefined)) {
    const arrived = takeArrived(peer);
    if (arrived === undefined) return;
    if (session.difference !== undefined) continue;
    session.compared++;
    const [next] = expected;
    const { group, isOrdered } = next!;
    const match = isOrdered
      ? isAsExpected(next!.expected, arrived)
        ? 0
        : -1
      : expected.findIndex(one => one.group === group && isAsExpected(one.expected, arrived));
    if (match >= 0) expected.splice(match, 1);
    else session.difference = differenceOf(next!, arrived);
  }
}

function differenceOf({ line, expected }: ExpectedStep, arrived: Arrived): ReplaySession['difference'] {
  const index = firstDifference(expected, arrived);
  const where = index === undefined ? '' : ` (the first difference is at byte ${index})`;
  return {
    line,
    sentence: `expected ${showExpected(expected)}; the server sent ${showExpected(arrived)}${where}`,
  };
}

/** Waits for all expected arrivals. A session that waits too long differs. */
async function untilArrived(replay: Replay): Promise<void> {
  for (;;) {
    const waiting = replay.sessions.filter(
      ({ peer, difference, expected }) =>
        peer !== undefined && difference === undefined && expected.length > 0,
    );
    const [first] = waiting.map(({ expected }) => expected[0]!).sort((one, other) => one.at - other.at);
    if (first === undefined) return;
    // This server may take as long as the recorded one did.
    const patience = replayPatience + Math.max(0, first.at - replay.at);
    const isChanged = await untilChange(replay, patience);
    if (isChanged) continue;
    for (const session of waiting) {
      const { line, expected } = session.expected[0]!;
      const late = `nothing within ${showDuration(patience)}`;
      session.difference = { line, sentence: `expected ${showExpected(expected)}; the server sent ${late}` };
    }
  }
}

/** @returns false if nothing has changed within this time */
function untilChange(replay: Replay, patience: number): Promise<boolean> {
  return new Promise(resolve => {
    const timer = setTimeout(() => resolve(false), timerDelay(patience));
    replay.wake = () => {
      clearTimeout(timer);
      resolve(true);
    };
  });
}

/** Waits until the server has read all input of the session. A server may ignore pings, so `replayPatience` limits the wait. */
async function untilRead(replay: Replay, { peer }: ReplaySession): Promise<void> {
  if (peer === undefined || peer.isUnframed) return;
  const ping = `replay ${++replay.barriers}`;
  const isOpen = peer.endpoint.state === 'OPEN';
  if (isOpen) sendWhole(peer, Opcode.Ping, Buffer.from(ping));
  const isRead = () =>
    peer.isGone || (peer.hasLeft ? false : isOpen ? peer.pong === ping : peer.endpoint.state === 'CLOSED');
  const end = performance.now() + replayPatience;
  while (!isRead() && performance.now() < end) await untilChange(replay, end - performance.now());
}

/** After the last action, the server must have sent nothing else. */
function checkRest(session: ReplaySession): void {
  const { peer, recording } = session;
  const arrived = peer === undefined || session.difference !== undefined ? undefined : takeArrived(peer);
  if (arrived === undefined) return;
  const line = recording.events.at(-1)?.line ?? 0;
  session.difference = { line, sentence: `expected nothing more; the server sent ${showExpected(arrived)}` };
}

async function closeAll(replay: Replay): Promise<void> {
  const peers = replay.sessions.flatMap(({ peer }) => (peer === undefined ? [] : [peer]));
  for (const peer of peers) closeReplayPeer(peer);
  const end = performance.now() + replayPatience;
  while (peers.some(({ isGone }) => !isGone) && performance.now() < end)
    await untilChange(replay, end - performance.now());
  for (const { socket } of peers) socket.destroy();
}

/** Reports the differences, and a summary. @returns the exit code */
function report({ sessions, sent }: Replay, output: ReplayOutput, refusal: Outcome | undefined): number {
  if (refusal !== undefined) {
    output.error(`pollywog-client: ${refusal.sentence}\n`);
    return refusal.exit;
  }
  const different = sessions.filter(({ difference }) => difference !== undefined);
  for (const { recording, difference } of different) {
    const { line, sentence } = difference!;
    output.error(`${recording.name}: line ${line}: ${terminalSafe(sentence)}\n`);
  }
  const compared = sessions.reduce((sum, session) => sum + session.compared, 0);
  const verdict =
    different.length === 0 ? 'equal' : `${different.length} of ${count(sessions.length, 'session')} differ`;
  output.out(
    `replayed ${count(sessions.length, 'session')}: ${sent} sent, ${compared} compared: ${verdict}\n`,
  );
  return different.length === 0 ? ExitCode.Done : ExitCode.Failed;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
