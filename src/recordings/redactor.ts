/**
 * Removes credentials from decoded events before they are written. The frames of a message wait for its last one, because only
 * the whole message shows whether it contains a credential.
 */
import { Opcode } from '../protocol/codes.ts';
import { eventMemory, type FrameEvent, type RecordedEvent, type Side } from './recording.ts';
import { redactEvent } from './secrets.ts';

/** One direction. */
interface Messages {
  /** The frames of the incomplete message, and control frames between them. */
  waiting: FrameEvent[];
  /** The number of complete messages. */
  count: number;
}

export interface Redactor {
  readonly hasCredentials: boolean;
  readonly onEvent: (event: RecordedEvent) => void;
  readonly client: Messages;
  readonly server: Messages;
  /** Bytes of memory that the frames in `waiting` take. */
  held: number;
}

/** @param onEvent receives the events; their times may be out of order */
export function newRedactor(hasCredentials: boolean, onEvent: (event: RecordedEvent) => void): Redactor {
  const newMessages = (): Messages => ({ waiting: [], count: 0 });
  return { hasCredentials, onEvent, client: newMessages(), server: newMessages(), held: 0 };
}

export function addEvent(redactor: Redactor, event: RecordedEvent): void {
  const { hasCredentials, onEvent } = redactor;
  if (hasCredentials) return onEvent(event);
  if (event.kind === 'end' || event.kind === 'cut') flushRedactor(redactor);
  if (event.kind !== 'frame') {
    if (event.kind === 'bytes') flushSide(redactor, event.from);
    return onEvent(redactEvent(event, false));
  }
  const messages = redactor[event.from];
  const { waiting } = messages;
  const isData = event.opcode < 8;
  if (waiting.length === 0 && (!isData || event.isFinal)) {
    onEvent(redactEvent(event, isData && messages.count === 0));
  } else {
    waiting.push(event);
    redactor.held += eventMemory(event);
    if (!isData || !event.isFinal) return;
    const last = redactEvent(event, messages.count === 0);
    flushMessage(redactor, messages, last === event ? undefined : last);
  }
  if (isData) messages.count++;
}

/** @param last the last frame, if it was redacted: the message's other frames then lose their bytes, too */
function flushMessage(redactor: Redactor, messages: Messages, last: FrameEvent | undefined): void {
  const { onEvent } = redactor;
  for (const [index, event] of messages.waiting.entries()) {
    if (last !== undefined && index === messages.waiting.length - 1) onEvent(last);
    else onEvent(last !== undefined && event.opcode < 8 ? { ...event, raw: undefined } : event);
  }
  dropWaiting(redactor, messages);
}

function dropWaiting(redactor: Redactor, messages: Messages): void {
  for (const event of messages.waiting) redactor.held -= eventMemory(event);
  messages.waiting = [];
}

/** Writes the frames of messages that stay incomplete. Those of a first message lose their bytes. */
export function flushRedactor(redactor: Redactor): void {
  flushSide(redactor, 'client');
  flushSide(redactor, 'server');
}

/** Discards the waiting frames. */
export function clearRedactor(redactor: Redactor): void {
  dropWaiting(redactor, redactor.client);
  dropWaiting(redactor, redactor.server);
}

function flushSide(redactor: Redactor, side: Side): void {
  const messages = redactor[side];
  for (const event of messages.waiting) {
    const mayBeSecret = messages.count === 0 && event.opcode !== Opcode.Binary && event.opcode < 8;
    redactor.onEvent(mayBeSecret ? { ...event, raw: undefined } : event);
  }
  dropWaiting(redactor, messages);
}
