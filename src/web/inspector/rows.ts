/** Rows that show frames. */
import type { InspectedFrame } from '../../handlers/inspector/messages.ts';
import { opcodes, spaced } from './compose.ts';
import { make } from './elements.ts';
import { charactersOf } from './figure.ts';
import { appendVisible, visibleText } from './visible.ts';

/** Characters of the content that a row shows. */
const maxPreview = 300;

/** A frame, or a gap in the list. */
export interface FrameRow {
  /** Unique on this page. */
  readonly key: number;
  /** Frames before this row that are not shown; a row of its own. */
  readonly skipped?: number;
  /** Why there is a gap; a row of its own. */
  readonly note?: string;
  readonly frame?: InspectedFrame;
  /** The connection to the server in which the frame has its number. */
  readonly visit: number;
}

const kindNames = { head: 'handshake', bytes: 'not a frame', fault: 'fault', end: 'end' } as const;

/** `text`, `handshake`, `opcode 0x3`. */
export function typeOf({ kind, first = 0, direction }: InspectedFrame): string {
  if (kind === 'head') return direction === 'in' ? 'request' : 'response';
  if (kind !== 'frame') return kindNames[kind];
  return opcodes.get(first & 15) ?? `opcode 0x${(first & 15).toString(16)}`;
}

/** Words for the properties of a frame that its type does not show. */
function tagsOf(frame: InspectedFrame): string[] {
  const { kind, first = 0x80, length, contentLength, isRedacted, isUninflated, isCut } = frame;
  const tags: string[] = [];
  if (kind !== 'frame') return isCut === true ? ['cut'] : [];
  if ((first & 0x80) === 0) tags.push('not final');
  if ((first & 0x40) !== 0 && isUninflated !== true)
    tags.push(contentLength === undefined ? 'deflated' : `inflated: ${contentLength}`);
  else if (contentLength !== undefined && contentLength > length) tags.push(`message: ${contentLength}`);
  if (isUninflated === true) tags.push('not decoded');
  if (isRedacted === true) tags.push('redacted');
  if (isCut === true) tags.push('cut');
  return tags;
}

/** Bytes that a row shows in hexadecimal digits, if their characters follow. */
const shownBytes = 8;

/** @returns the text, or bytes in hexadecimal digits */
export function contentOf({ text, hex, code }: InspectedFrame): string {
  const content = text ?? (hex === undefined ? '' : spaced(hex));
  return code === undefined ? content : `${code} ${content}`.trimEnd();
}

/** @returns the content as a row shows it */
export function previewOf(frame: InspectedFrame): string {
  const { kind, hex } = frame;
  const whole = contentOf(frame);
  // Only the first line of a head.
  if (kind === 'head') return whole.split(/\r?\n/, 1)[0]!;
  if (hex === undefined || hex === '') return whole;
  const isLong = hex.length > 4 * shownBytes;
  const digits = isLong ? `${spaced(hex.slice(0, 2 * shownBytes))} …` : whole;
  return `${digits}  ${charactersOf(hex).join('')}`;
}

const timeFormat = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
});

export function timeOf(time: number): string {
  return timeFormat.format(time);
}

export function fillFrame(row: HTMLElement, { frame, skipped, note }: FrameRow): void {
  if (frame === undefined) {
    row.className = 'row skipped';
    row.append(make('span', '', note ?? `${(skipped ?? 0).toLocaleString('en')} not shown`));
    return;
  }
  const type = typeOf(frame);
  row.className = `row frame ${frame.direction} ${frame.kind} t-${type.split(' ', 1)[0]}`;
  const sender = frame.direction === 'in' ? 'client →' : '← server';
  row.append(
    make('span', 'time', timeOf(frame.time)),
    make('span', 'sender', frame.kind === 'end' ? '' : sender),
    make('span', 'type', type),
    make('span', 'number', frame.wireLength === 0 ? '' : String(frame.length)),
  );
  const content = make('span', frame.hex === undefined ? 'content' : 'content bytes');
  for (const tag of tagsOf(frame)) content.append(make('span', 'tag', tag), ' ');
  const preview = previewOf(frame).slice(0, maxPreview);
  appendVisible(content, preview);
  row.title = visibleText(preview);
  row.append(content);
}
