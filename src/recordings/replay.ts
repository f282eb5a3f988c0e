/**
 * The plan of a replay: the client's actions, and the expected answers. Several recordings, such as those of all members of a
 * chat, become one plan, so the server reads them in the recorded order.
 */
import { printableJson } from '../log/printable.ts';
import { Opcode } from '../protocol/codes.ts';
import type {
  BytesEvent,
  Content,
  FrameEvent,
  NumberedEvent,
  Recording,
  RequestEvent,
  ResponseEvent,
} from './recording.ts';

/** An expected arrival in a session. */
export type Expected =
  | { readonly kind: 'message'; readonly content: Content }
  /** A message without recorded content: it was too long, or could not be inflated. */
  | { readonly kind: 'any message' }
  | { readonly kind: 'close'; readonly payload: Buffer }
  /** Bytes that are not a frame. */
  | { readonly kind: 'failure'; readonly reason: string }
  /** The connection ends. */
  | { readonly kind: 'end' };

/** An actual arrival. */
export type Arrived = Exclude<Expected, { kind: 'any message' }>;

export type ReplayAction =
  /** Connects. Undefined: the handshake was not recorded. */
  | {
      readonly kind: 'open';
      readonly request: RequestEvent | undefined;
      readonly response: ResponseEvent | undefined;
    }
  /** Sends the recorded bytes: whole frames, or anything else. */
  | { readonly kind: 'send'; readonly bytes: Buffer; readonly isWhole: boolean }
  /** Sends a new frame with this content, because the recorded one was compressed or redacted. */
  | { readonly kind: 'sendFrame'; readonly opcode: number; readonly payload: Buffer }
  /** Sends the recorded close frame or, if it was redacted, one with this payload. */
  | { readonly kind: 'close'; readonly bytes: Buffer | undefined; readonly payload: Buffer }
  /** Ends the connection without a close frame. */
  | { readonly kind: 'leave' }
  | { readonly kind: 'expect'; readonly expected: Expected };

export interface ReplayStep {
  /** Milliseconds since the first event of all recordings. */
  readonly at: number;
  /** The index of the recording. */
  readonly session: number;
  /** The line of its file. */
  readonly line: number;
  /** Steps of one turn of the recorded server are one group: the replay sends their actions together. */
  readonly group: number;
  /**
   * Whether the session's arrivals of this group have a fixed order. A server that reads two sessions in one turn may interleave
   * their answers and broadcasts differently than in two turns.
   */
  readonly isOrdered: boolean;
  readonly action: ReplayAction;
}

/** @returns the steps of all recordings, in order of time */
export function planReplay(recordings: readonly Recording[]): ReplayStep[] {
  const steps = recordings
    .flatMap((recording, session) =>
      actionsOf(recording).map(({ event, action }) => ({
        ...{ session, line: event.line, turn: event.turn, action },
        at: Date.parse(recording.header.time) + event.at,
      })),
    )
    .sort((one, other) => one.at - other.at);
  const start = steps[0]?.at ?? 0;
  let group = 0;
  const grouped = steps.map(({ turn, at, ...step }, index) => {
    if (turn === undefined || turn !== steps[index - 1]?.turn) group++;
    return { ...step, at: at - start, group };
  });
  const actors = new Map<number, Set<number>>();
  for (const { group: of, session, action } of grouped)
    if (action.kind !== 'expect') actors.set(of, (actors.get(of) ?? new Set()).add(session));
  return grouped.map(step => ({ ...step, isOrdered: (actors.get(step.group)?.size ?? 0) < 2 }));
}

interface Planned {
  readonly event: NumberedEvent;
  readonly action: ReplayAction;
}

/** The state of a session while it is planned. */
interface Progress {
  isClientClosed: boolean;
  isServerClosed: boolean;
  /** The current message is sent as one frame without compression. */
  isLeftOut: boolean;
}

function actionsOf({ events }: Recording): Planned[] {
  const request = events.find((event): event is NumberedEvent & RequestEvent => event.kind === 'request');
  const response = events.find((event): event is NumberedEvent & ResponseEvent => event.kind === 'response');
  const [first] = events;
  if (first === undefined) return [];
  // The response's time, not the request's: by then the server had handled the request.
  const planned: Planned[] = [
    { event: response ?? request ?? first, action: { kind: 'open', request, response } },
  ];
  const progress: Progress = { isClientClosed: false, isServerClosed: false, isLeftOut: false };
  for (const event of events) {
    const action = actionOf(event, progress);
    if (action !== undefined) planned.push({ event, action });
  }
  return planned;
}

function actionOf(event: NumberedEvent, progress: Progress): ReplayAction | undefined {
  switch (event.kind) {
    case 'frame':
      return event.from === 'client' ? clientAction(event, progress) : serverAction(event, progress);
    case 'bytes':
      return bytesAction(event, progress);
    case 'end':
      if (progress.isServerClosed) return undefined;
      if (event.by === 'client') return progress.isClientClosed ? undefined : { kind: 'leave' };
      return { kind: 'expect', expected: { kind: 'end' } };
    default:
      return undefined;
  }
}

function clientAction(event: FrameEvent, progress: Progress): ReplayAction | undefined {
  const { opcode, content, raw } = event;
  // The replay answers this server's pings itself.
  if (opcode === Opcode.Pong) return undefined;
  if (opcode === Opcode.Close) {
    // The answer to a close frame: the replay sends one when the server closes.
    if (progress.isServerClosed) return undefined;
    progress.isClientClosed = true;
    return { kind: 'close', bytes: raw, payload: content?.bytes ?? noBytes };
  }
  if (opcode >= 8)
    return raw === undefined
      ? { kind: 'sendFrame', opcode, payload: content?.bytes ?? noBytes }
      : { kind: 'send', bytes: raw, isWhole: true };
  const again = sendAgain(event, progress);
  if (again === undefined) return undefined;
  if ('raw' in again) return { kind: 'send', bytes: again.raw, isWhole: true };
  return { kind: 'sendFrame', opcode: again.opcode, payload: again.content.bytes };
}

/**
 * How a replay sends a data frame: unchanged, unless its message was compressed or redacted. Then the last frame of the message
 * becomes one with the whole content, and the others are left out.
 */
export function sendAgain(
  { opcode, isCompressed, isFinal, content, raw }: FrameEvent,
  progress: Pick<Progress, 'isLeftOut'>,
): { readonly raw: Buffer } | { readonly opcode: number; readonly content: Content } | undefined {
  if (opcode !== Opcode.Continuation) progress.isLeftOut = isCompressed || raw === undefined;
  if (!progress.isLeftOut && raw !== undefined) return { raw };
  if (!isFinal || content === undefined) return undefined;
  return { opcode: content.isText ? Opcode.Text : Opcode.Binary, content };
}

export const noBytes = Buffer.alloc(0);

function serverAction(
  { opcode, isFinal, content }: FrameEvent,
  progress: Progress,
): ReplayAction | undefined {
  if (opcode === Opcode.Close) {
    progress.isServerClosed = true;
    return { kind: 'expect', expected: { kind: 'close', payload: content?.bytes ?? noBytes } };
  }
  // Pings depend on the time, and pongs only echo the client's pings.
  if (opcode >= 8 || !isFinal) return undefined;
  return {
    kind: 'expect',
    expected: content === undefined ? { kind: 'any message' } : { kind: 'message', content },
  };
}

/** Sends the client's bytes again. The replay expects the server's bytes to fail the connection, as in the recording. */
function bytesAction({ from, bytes }: BytesEvent, progress: Progress): ReplayAction | undefined {
  if (from === 'client') return { kind: 'send', bytes, isWhole: false };
  if (progress.isServerClosed) return undefined;
  progress.isServerClosed = true;
  return { kind: 'expect', expected: { kind: 'failure', reason: 'as recorded' } };
}

/** Whether an arrival matches. Compares whole messages: fragments and compression do not matter. */
export function isAsExpected(expected: Expected, arrived: Arrived): boolean {
  if (expected.kind === 'any message') return arrived.kind === 'message';
  if (expected.kind === 'message' && arrived.kind === 'message') {
    const { content } = expected;
    return content.isText === arrived.content.isText && content.bytes.equals(arrived.content.bytes);
  }
  if (expected.kind === 'close' && arrived.kind === 'close') return expected.payload.equals(arrived.payload);
  return expected.kind === arrived.kind;
}

/** The most characters of a content that a difference shows. */
const maxShownContent = 200;

/** As in a script: `text "hello"`, `close 1000 "bye"`. */
export function showExpected(expected: Expected): string {
  switch (expected.kind) {
    case 'message': {
      const { isText, bytes } = expected.content;
      if (!isText) return `binary ${shorten(bytes.toString('hex'))}`;
      return `text ${printableJson(shorten(bytes.toString('utf8')))}`;
    }
    case 'close': {
      const { payload } = expected;
      if (payload.length < 2) return 'close';
      const reason = payload.toString('utf8', 2);
      return `close ${payload.readUInt16BE()}${reason === '' ? '' : ` ${printableJson(shorten(reason))}`}`;
    }
    case 'any message':
      return 'a message';
    case 'end':
      return 'the end of the connection';
    case 'failure':
      return `bytes that break the protocol (${expected.reason})`;
  }
}

function shorten(text: string): string {
  return text.length <= maxShownContent
    ? text
    : `${text.slice(0, maxShownContent)}… (${text.length} characters)`;
}

/**
 * Locates the difference of two long messages: their shown beginnings may be equal.
 * @returns the index of the first difference, if both are messages of one kind, and long
 */
export function firstDifference(expected: Expected, arrived: Arrived): number | undefined {
  if (expected.kind !== 'message' || arrived.kind !== 'message') return undefined;
  const [one, other] = [expected.content.bytes, arrived.content.bytes];
  if (Math.max(one.length, other.length) <= maxShownContent) return undefined;
  const shorter = Math.min(one.length, other.length);
  for (let i = 0; i < shorter; i++) if (one[i] !== other[i]) return i;
  return one.length === other.length ? undefined : shorter;
}
