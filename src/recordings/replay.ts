/**
 * What a client does to replay recordings, and what it expects: pure. Several recordings, such as those of all members of a
 * chat, become one plan, so the server gets everything in the order in which the recorded server read it.
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

/** What a server is expected to send next in a session. */
export type Expected =
  | { readonly kind: 'message'; readonly content: Content }
  /** A message whose content was not recorded: it was too long, or could not be inflated. */
  | { readonly kind: 'any message' }
  | { readonly kind: 'close'; readonly payload: Buffer }
  /** Bytes that are no frame. */
  | { readonly kind: 'failure'; readonly reason: string }
  /** The connection ends. */
  | { readonly kind: 'end' };

/** What a server has sent. */
export type Arrived = Exclude<Expected, { kind: 'any message' }>;

export type ReplayAction =
  /** Connects. Undefined: the handshake was not recorded. */
  | {
      readonly kind: 'open';
      readonly request: RequestEvent | undefined;
      readonly response: ResponseEvent | undefined;
    }
  /** Sends bytes as they were recorded: whole frames, or something else. */
  | { readonly kind: 'send'; readonly bytes: Buffer; readonly isWhole: boolean }
  /** Sends a frame with this content: it was recorded without bytes, or compressed. */
  | { readonly kind: 'sendFrame'; readonly opcode: number; readonly payload: Buffer }
  /** Sends a close frame: as it was recorded or, if it was redacted, with this payload. */
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
  /** Steps of one turn of the recorded server have the same number: their actions are done at once. */
  readonly group: number;
  /**
   * Whether what the session expects in this group arrives in this order. A server that reads two sessions in one turn may
   * answer one before it tells both about the other, and in two turns not.
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

/** What has happened in a session so far. */
interface Progress {
  isClientClosed: boolean;
  isServerClosed: boolean;
  /** The frames of the client's current message are left out: it is sent as one frame without compression. */
  isLeftOut: boolean;
}

function actionsOf({ events }: Recording): Planned[] {
  const request = events.find((event): event is NumberedEvent & RequestEvent => event.kind === 'request');
  const response = events.find((event): event is NumberedEvent & ResponseEvent => event.kind === 'response');
  const [first] = events;
  if (first === undefined) return [];
  // The server has worked on the request when it answers.
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
  const { opcode, isCompressed, isFinal, content, raw } = event;
  // The pings of this server are answered as they come.
  if (opcode === Opcode.Pong) return undefined;
  if (opcode === Opcode.Close) {
    // An answer, which is sent when the server closes.
    if (progress.isServerClosed) return undefined;
    progress.isClientClosed = true;
    return { kind: 'close', bytes: raw, payload: content?.bytes ?? noBytes };
  }
  if (opcode >= 8)
    return raw === undefined
      ? { kind: 'sendFrame', opcode, payload: content?.bytes ?? noBytes }
      : { kind: 'send', bytes: raw, isWhole: true };
  if (opcode !== Opcode.Continuation) progress.isLeftOut = isCompressed || raw === undefined;
  if (!progress.isLeftOut && raw !== undefined) return { kind: 'send', bytes: raw, isWhole: true };
  if (!isFinal || content === undefined) return undefined;
  const whole = content.isText ? Opcode.Text : Opcode.Binary;
  return { kind: 'sendFrame', opcode: whole, payload: content.bytes };
}

const noBytes = Buffer.alloc(0);

function serverAction(
  { opcode, isFinal, content }: FrameEvent,
  progress: Progress,
): ReplayAction | undefined {
  if (opcode === Opcode.Close) {
    progress.isServerClosed = true;
    return { kind: 'expect', expected: { kind: 'close', payload: content?.bytes ?? noBytes } };
  }
  // When a server pings depends on the time, and its pongs say no more than the pings.
  if (opcode >= 8 || !isFinal) return undefined;
  return {
    kind: 'expect',
    expected: content === undefined ? { kind: 'any message' } : { kind: 'message', content },
  };
}

/** What the client sent is sent again. The server's bytes fail the connection, as they did when they were recorded. */
function bytesAction({ from, bytes }: BytesEvent, progress: Progress): ReplayAction | undefined {
  if (from === 'client') return { kind: 'send', bytes, isWhole: false };
  if (progress.isServerClosed) return undefined;
  progress.isServerClosed = true;
  return { kind: 'expect', expected: { kind: 'failure', reason: 'as recorded' } };
}

/** Whether the server has sent what was recorded. A message is compared as a whole, however it is divided and compressed. */
export function isAsExpected(expected: Expected, arrived: Arrived): boolean {
  if (expected.kind === 'any message') return arrived.kind === 'message';
  if (expected.kind === 'message' && arrived.kind === 'message') {
    const { content } = expected;
    return content.isText === arrived.content.isText && content.bytes.equals(arrived.content.bytes);
  }
  if (expected.kind === 'close' && arrived.kind === 'close') return expected.payload.equals(arrived.payload);
  return expected.kind === arrived.kind;
}

/** Characters of a content that a difference shows. */
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
      return `what is no WebSocket (${expected.reason})`;
  }
}

function shorten(text: string): string {
  return text.length <= maxShownContent
    ? text
    : `${text.slice(0, maxShownContent)}… (${text.length} characters)`;
}

/**
 * Where two long texts differ is more of interest than how they begin.
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
