/**
 * WebSocket sessions in HAR files of Chromium's developer tools: the entry of a WebSocket lists its messages in
 * `_webSocketMessages`. A HAR file has no frames: no pings, and no bytes as they were sent.
 */
import { isObject } from '../options/json.ts';
import { Opcode } from '../protocol/codes.ts';
import type { NumberedEvent, RecordedHeaders, Recording } from './recording.ts';

/**
 * The sessions of a HAR file. An event's line is the number of its message, from 1.
 * @param name the name of the file; a number is appended for each of several sessions
 * @throws Error, a sentence
 */
export function parseHar(name: string, text: string): Recording[] {
  const entries = entriesOf(text).filter(entry => Array.isArray(entry['_webSocketMessages']));
  if (entries.length === 0) throw new Error('the HAR file has no WebSocket messages');
  return entries.map((entry, index) =>
    readEntry(entries.length === 1 ? name : `${name}-${index + 1}`, entry),
  );
}

function entriesOf(text: string): Record<string, unknown>[] {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (error) {
    throw new Error(`the HAR file is not valid JSON: ${(error as Error).message}`);
  }
  const log = isObject(file) ? file['log'] : undefined;
  const entries = isObject(log) ? log['entries'] : undefined;
  if (!Array.isArray(entries)) throw new Error('the file has no "log" with "entries": it is not a HAR file');
  return entries.filter(isObject);
}

function readEntry(name: string, entry: Record<string, unknown>): Recording {
  const messages = (entry['_webSocketMessages'] as unknown[]).filter(isObject);
  const request = isObject(entry['request']) ? entry['request'] : {};
  const response = isObject(entry['response']) ? entry['response'] : {};
  const url = typeof request['url'] === 'string' ? request['url'] : '';
  const started = Date.parse(String(entry['startedDateTime']));
  const first = Number(messages[0]?.['time']) * 1000;
  const start = Math.min(...[started, first].filter(time => !Number.isNaN(time)));
  const base = Number.isFinite(start) ? start : 0;
  const events: NumberedEvent[] = [
    {
      ...{ kind: 'request', from: 'client', at: 0, line: 0 },
      target: targetOf(url),
      headers: readHeaders(request),
    },
    { ...{ kind: 'response', from: 'server', at: 0, line: 0, status: 101 }, headers: readHeaders(response) },
    ...messages.map((message, index) => readMessage(message, index + 1, base)),
  ];
  return { name, header: { time: new Date(base).toISOString(), side: 'client', url }, events };
}

function targetOf(url: string): string {
  try {
    const { pathname, search } = new URL(url);
    return pathname + search;
  } catch {
    return '/';
  }
}

function readHeaders({ headers }: Record<string, unknown>): RecordedHeaders {
  if (!Array.isArray(headers)) return {};
  const fields = headers
    .filter(isObject)
    .map(({ name, value }) => [String(name).toLowerCase(), String(value)]);
  return Object.fromEntries(fields);
}

function readMessage(message: Record<string, unknown>, line: number, start: number): NumberedEvent {
  const { type, time, opcode, data } = message;
  if ((type !== 'send' && type !== 'receive') || typeof data !== 'string')
    throw new Error(`WebSocket message ${line} has no "type" or no "data"`);
  const isText = opcode === Opcode.Text;
  const seconds = Number(time);
  return {
    kind: 'frame',
    line,
    at: Number.isNaN(seconds) ? 0 : Math.max(0, seconds * 1000 - start),
    from: type === 'send' ? 'client' : 'server',
    opcode: typeof opcode === 'number' ? opcode & 0x0f : Opcode.Binary,
    isFinal: true,
    isCompressed: false,
    content: { isText, bytes: Buffer.from(data, isText ? 'utf8' : 'base64') },
    raw: undefined,
  };
}
