/**
 * Plays one side of a script, without I/O and without a clock. The owner of the connection passes in received frames
 * (`playReceived`) and the time, and asks for one action after another (`nextAction`).
 *
 * Received frames wait in the backlog until a line awaits them, so a frame may arrive before the player has sent the lines above.
 * The player compares whole messages, because fragments have no meaning (RFC 6455 §5.4). It answers pings and ignores pongs,
 * unless a line awaits one.
 */
import { duration } from '../options/values.ts';
import { Opcode } from '../protocol/codes.ts';
import { maxScriptBacklog, maxScriptBacklogBytes, scriptTimeout } from '../protocol/scriptLimits.ts';
import { encodeFrame, isUsualForm } from './encode.ts';
import { anyPayload, fillPayload, matchesPayload, type ScriptVariables } from './payload.ts';
import { endsSession, isFrame, type Received, showReceived } from './received.ts';
import type {
  BytesLine,
  Direction,
  EndLine,
  FrameLine,
  PayloadPattern,
  RepeatBlock,
  Script,
  ScriptStep,
} from './script.ts';

export type ScriptSide = 'server' | 'client';

/** The first difference from the script. */
export interface ScriptDifference {
  /** The number of the line. */
  readonly line: number;
  /** The line of the script: `text "hello"`. */
  readonly expected: string;
  /** The received frame, in the same form. */
  readonly seen: string;
}

export type ScriptOutcome = { readonly isEqual: true } | ({ readonly isEqual: false } & ScriptDifference);

export type PlayerAction =
  /** Send these bytes. */
  | {
      readonly kind: 'send';
      readonly bytes: Buffer;
      /** Whether they are whole, valid frames of a server: the trace and the recorder can read no others. */
      readonly isFramed: boolean;
      /** The payload of a close frame. */
      readonly close: Buffer | undefined;
      /** The line of the script; empty for the answer to a ping. */
      readonly source: string;
    }
  /** Call `nextAction` again at this time, or after `playReceived`. */
  | { readonly kind: 'wait'; readonly until: number }
  /** After all output, end our direction (FIN) or drop the connection. */
  | { readonly kind: 'end' | 'drop' }
  | { readonly kind: 'over'; readonly outcome: ScriptOutcome };

/** A block of steps under way. */
interface Level {
  readonly steps: readonly ScriptStep[];
  readonly repeat: RepeatBlock | undefined;
  at: number;
  /** Counts from 1. */
  round: number;
}

export interface Player {
  readonly script: Script;
  readonly own: Direction;
  /** False if a line awaits a ping or a pong, or if the script is strict. */
  readonly answersPings: boolean;
  readonly ignoresPongs: boolean;
  /** The masking key of the next frame; `null` for a server. */
  readonly nextKey: () => Buffer | null;
  readonly variables: ScriptVariables;
  /** Innermost last. */
  readonly levels: Level[];
  /** Received frames that no line has awaited yet. */
  readonly backlog: Received[];
  /** Bytes of payload in `backlog`. */
  backlogBytes: number;
  /** Answers to pings. */
  readonly replies: Buffer[];
  /** The payloads of earlier lines that await fragments of the same message. */
  fragments: PayloadPattern;
  fragmentOpcode: number | undefined;
  /** How many milliseconds a line waits for a frame; 0: forever. */
  timeout: number;
  /** The time when `wait` ends or the awaited frame is overdue; `undefined` before the step begins. */
  until: number | undefined;
  outcome: ScriptOutcome | undefined;
}

/** @param nextKey returns the masking key of each frame, for a client */
export function newPlayer(
  script: Script,
  side: ScriptSide,
  nextKey: () => Buffer | null = () => null,
): Player {
  const awaited = side === 'server' ? '<' : '>';
  const awaits = (opcode: number) => script.isStrict || hasFrame(script.steps, awaited, opcode);
  return {
    script,
    own: side === 'server' ? '>' : '<',
    answersPings: !awaits(Opcode.Ping),
    ignoresPongs: !awaits(Opcode.Pong),
    nextKey,
    variables: new Map(),
    levels: [{ steps: script.steps, repeat: undefined, at: 0, round: 1 }],
    backlog: [],
    backlogBytes: 0,
    replies: [],
    fragments: [],
    fragmentOpcode: undefined,
    timeout: scriptTimeout,
    until: undefined,
    outcome: undefined,
  };
}

function hasFrame(steps: readonly ScriptStep[], direction: Direction, opcode: number): boolean {
  return steps.some(step =>
    step.kind === 'repeat'
      ? hasFrame(step.steps, direction, opcode)
      : step.kind === 'frame' && step.direction === direction && step.opcode === opcode,
  );
}

/** Passes in a received frame or the end of the connection. Call `nextAction` afterwards. */
export function playReceived(player: Player, received: Received): void {
  const { backlog } = player;
  if (received.kind === 'ping' && player.answersPings) {
    const reply = {
      opcode: Opcode.Pong,
      isFinal: true,
      isCompressed: false,
      payload: received.bytes,
      form: {},
    };
    player.replies.push(encodeFrame(reply, player.nextKey()));
    return;
  }
  if (received.kind === 'pong' && player.ignoresPongs) return;
  // Drops a frame that no later line can await.
  if (!endsSession(received) && !willAwait(player)) return;
  backlog.push(received);
  player.backlogBytes += received.bytes.length;
  if (endsSession(received) && player.outcome === undefined) noteLeaving(player, received);
}

/** Whether the owner must stop reading for now. */
export function isBacklogFull({ backlog, backlogBytes, replies }: Player): boolean {
  return backlog.length + replies.length >= maxScriptBacklog || backlogBytes >= maxScriptBacklogBytes;
}

/** Bytes of received data and of replies that the player keeps. */
export function heldByPlayer({ backlogBytes, replies, variables }: Player): number {
  let held = backlogBytes;
  for (const reply of replies) held += reply.length;
  for (const value of variables.values()) held += value.length;
  return held;
}

/** Discards all received data, at the end of the script. */
export function clearPlayer(player: Player): void {
  player.backlog.length = 0;
  player.backlogBytes = 0;
  player.replies.length = 0;
  player.variables.clear();
}

/** The end of a `wait` that only `playReceived` ends. */
const never = Number.POSITIVE_INFINITY;

/**
 * Returns the next action of the script. Call it again after each action except `wait`, until it returns `over`.
 * @param now milliseconds of a clock that does not go back
 */
export function nextAction(player: Player, now: number): PlayerAction {
  for (;;) {
    const reply = player.replies.shift();
    if (reply !== undefined)
      return { kind: 'send', bytes: reply, isFramed: player.own === '>', close: undefined, source: '' };
    const { outcome } = player;
    if (outcome !== undefined) return { kind: 'over', outcome };
    const step = currentStep(player);
    if (step === undefined) player.outcome = { isEqual: true };
    else {
      const action = play(player, step, now);
      if (action !== undefined) return action;
    }
  }
}

/** The current step; undefined at the end of the script. */
function currentStep({ levels, variables }: Player): ScriptStep | undefined {
  for (;;) {
    const level = levels.at(-1)!;
    const step = level.steps[level.at];
    if (step !== undefined) return step;
    const { repeat } = level;
    if (repeat === undefined) return undefined;
    if (level.round < repeat.rounds) {
      level.at = 0;
      level.round++;
      noteRound(level, variables);
    } else levels.pop();
  }
}

function noteRound({ repeat, round }: Level, variables: ScriptVariables): void {
  if (repeat?.counter !== undefined) variables.set(repeat.counter, Buffer.from(String(round)));
}

function advance(player: Player): void {
  player.levels.at(-1)!.at++;
  player.until = undefined;
}

/** @returns undefined if the player can take the next step at once */
function play(player: Player, step: ScriptStep, now: number): PlayerAction | undefined {
  switch (step.kind) {
    case 'set':
      player.variables.set(step.variable, fillPayload(step.value, player.variables));
      advance(player);
      return undefined;
    case 'timeout':
      player.timeout = step.time;
      advance(player);
      return undefined;
    case 'wait':
      if (player.until === undefined) player.until = now + step.time;
      else if (now >= player.until) {
        advance(player);
        return undefined;
      }
      return { kind: 'wait', until: player.until };
    case 'repeat': {
      advance(player);
      const level: Level = { steps: step.steps, repeat: step, at: 0, round: 1 };
      player.levels.push(level);
      noteRound(level, player.variables);
      return undefined;
    }
    default:
      return step.direction === player.own ? send(player, step) : awaitStep(player, step, now);
  }
}

function send(player: Player, step: FrameLine | BytesLine | EndLine): PlayerAction {
  advance(player);
  const { source } = step;
  if (step.kind === 'end' || step.kind === 'drop') return { kind: step.kind };
  if (step.kind === 'bytes')
    return { kind: 'send', bytes: step.bytes, isFramed: false, close: undefined, source };
  const { opcode = Opcode.Text, isFinal, isCompressed, form } = step;
  const payload = fillPayload(step.payload, player.variables);
  const bytes = encodeFrame({ opcode, isFinal, isCompressed, payload, form }, player.nextKey());
  const isClose = opcode === Opcode.Close && isFinal;
  const isFramed = player.own === '>' && isUsualForm(form);
  return { kind: 'send', bytes, isFramed, close: isClose ? payload : undefined, source };
}

function awaitStep(
  player: Player,
  step: FrameLine | BytesLine | EndLine,
  now: number,
): PlayerAction | undefined {
  if (step.kind === 'frame' && !step.isFinal) {
    // The line with the last fragment compares the whole message.
    player.fragmentOpcode ??= step.opcode;
    player.fragments = [...player.fragments, ...step.payload];
    advance(player);
    return undefined;
  }
  const received = player.backlog[0];
  if (received === undefined) return waitFor(player, step, now);
  const isMatch =
    step.kind === 'frame'
      ? matchesFrame(player, step, received)
      : step.kind !== 'bytes' && received.kind === 'end';
  if (!isMatch) {
    if (!leaveRepeat(player, received)) reportDifference(player, step, step.source, showReceived(received));
    return undefined;
  }
  player.backlog.shift();
  player.backlogBytes -= received.bytes.length;
  advance(player);
  return undefined;
}

function matchesFrame(player: Player, step: FrameLine, received: Received): boolean {
  const { opcode, payload, isReasonFree } = step;
  const { variables, fragments, fragmentOpcode } = player;
  if (opcode !== Opcode.Continuation) {
    const pattern = isReasonFree ? [...payload, ...anyPayload] : payload;
    return isFrame(received, opcode) && matchesPayload(pattern, received.bytes, variables);
  }
  player.fragments = [];
  player.fragmentOpcode = undefined;
  return (
    isFrame(received, fragmentOpcode) && matchesPayload([...fragments, ...payload], received.bytes, variables)
  );
}

function waitFor(player: Player, step: ScriptStep, now: number): PlayerAction | undefined {
  if (player.timeout === 0 || isRepeatable(player)) return { kind: 'wait', until: never };
  player.until ??= now + player.timeout;
  if (now < player.until) return { kind: 'wait', until: player.until };
  reportDifference(player, step, step.source, `nothing within ${duration.show(player.timeout)}`);
  return undefined;
}

/** Whether the awaited line is the first line of an endless repeat: such a line is optional. */
function isRepeatable({ levels }: Player): boolean {
  const { repeat, at } = levels.at(-1)!;
  return repeat?.rounds === Number.POSITIVE_INFINITY && at === 0;
}

/** Leaves an endless repeat if its first line does not match, or the peer leaves. @returns whether there was one to leave */
function leaveRepeat(player: Player, received: Received): boolean {
  const { levels } = player;
  const endless = isRepeatable(player)
    ? levels.length - 1
    : levels.findLastIndex(
        ({ repeat }) => repeat?.rounds === Number.POSITIVE_INFINITY && endsSession(received),
      );
  if (endless < 0) return false;
  leaveLevel(player, endless);
  return true;
}

function leaveLevel(player: Player, index: number): void {
  player.levels.length = index;
  player.until = undefined;
}

/** Handles a peer that closes or is gone: leaves each endless repeat that awaits nothing, because only the peer can end it. */
function noteLeaving(player: Player, received: Received): void {
  const { levels } = player;
  for (let i = levels.length - 1; i > 0; i--) {
    const { steps, repeat, at, round } = levels[i]!;
    const goesOn = round < repeat!.rounds;
    if (awaitsAny(player, goesOn ? steps : steps.slice(at))) return;
    if (repeat!.rounds === Number.POSITIVE_INFINITY) leaveLevel(player, i);
  }
  const step = currentStep(player);
  if (step === undefined || awaitsAny(player, levels[0]!.steps.slice(levels[0]!.at))) return;
  reportDifference(player, step, 'a client that stays until the script ends', showReceived(received));
}

/** Whether the current line or a later one awaits a frame. */
function willAwait(player: Player): boolean {
  return player.levels.some(({ steps, repeat, at, round }) =>
    awaitsAny(player, repeat !== undefined && round < repeat.rounds ? steps : steps.slice(at)),
  );
}

function awaitsAny(player: Player, steps: readonly ScriptStep[]): boolean {
  return steps.some(step => {
    if (step.kind === 'repeat') return awaitsAny(player, step.steps);
    return 'direction' in step && step.direction !== player.own;
  });
}

function reportDifference(player: Player, { line }: ScriptStep, expected: string, seen: string): void {
  player.outcome ??= { isEqual: false, line, expected, seen };
}

/**
 * Ends the script because the connection is lost or closed from outside.
 * @param why the reason, as in `ScriptDifference.seen`
 * @returns equal if the script had reached its end
 */
export function cutOff(player: Player, now: number, why: string): ScriptOutcome {
  const { backlog } = player;
  for (let actions = 0; backlog.length > 0 && actions < maxScriptBacklog; actions++) {
    const action = nextAction(player, now);
    if (action.kind === 'over') return action.outcome;
    if (action.kind !== 'send') break;
  }
  const step = currentStep(player);
  if (step !== undefined) reportDifference(player, step, step.source, why);
  return player.outcome ?? { isEqual: true };
}
