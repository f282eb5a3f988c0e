/**
 * Reads the sessions in test/corpus: scripts (src/scripts/script.ts) from the side of our endpoint, an echo. The peer sends the `<`
 * lines, and the endpoint answers with the `>` lines:
 *
 *     == NAME [| client] [| max=BYTES] [| on] [| takeover] [| closes]
 *                     begins a session: our role (default: server), the largest message, the negotiated compression (default:
 *                     none), and whether we close after the first message
 *     > close 1002    we fail the connection, with some reason; `> close 1000 ""` answers a close frame
 *
 * A session without `>` lines (found by the fuzzer) must cause the same events however its bytes are divided.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { encodeFrame } from '../../src/scripts/encode.ts';
import { parseScript } from '../../src/scripts/parse.ts';
import { fillPayload } from '../../src/scripts/payload.ts';
import type { BytesLine, FrameLine, Script } from '../../src/scripts/script.ts';
import { type EndpointSetup, plainServer, showBytes, showClose } from './endpointRun.ts';
import { opcode } from './rawFrame.ts';

export interface Session {
  readonly name: string;
  readonly setup: EndpointSetup;
  readonly script: Script;
  readonly input: Buffer;
  /** The end of each frame of the peer. */
  readonly frameEnds: readonly number[];
  /** An event that ends with an open quote matches any reason except an empty one. Undefined: unknown. */
  readonly expected: readonly string[] | undefined;
}

export const corpusFolder = new URL('../../../test/corpus/', import.meta.url);

export interface SessionGroup {
  /** The file's name without `.txt`; `found/...` for sessions that the fuzzer found. */
  readonly name: string;
  readonly sessions: readonly Session[];
}

export function readCorpus(): SessionGroup[] {
  const files = readdirSync(corpusFolder, { recursive: true, encoding: 'utf8' });
  return files
    .filter(file => file.endsWith('.txt'))
    .sort()
    .map(file => ({
      name: file.slice(0, -4),
      sessions: parseSessions(file, readFileSync(new URL(file, corpusFolder), 'utf8')),
    }));
}

function parseSessions(file: string, text: string): Session[] {
  const sessions: Session[] = [];
  let line = 1;
  for (const part of text.split(/^(?=== )/m)) {
    if (part.startsWith('== ')) sessions.push(parseSession(file, part, line));
    line += part.split('\n').length - 1;
  }
  return sessions;
}

function parseSession(file: string, text: string, firstLine: number): Session {
  const [title = ''] = text.split('\n', 1);
  const [name = '', ...settings] = title
    .slice(3)
    .split('|')
    .map(part => part.trim());
  const setup = parseSetup(settings);
  const script = parseScript(file, text.slice(title.length), firstLine);
  const lines = script.steps.map(step => {
    assert.ok(step.kind === 'frame' || step.kind === 'bytes', `line ${step.line} of ${file} is a frame`);
    return step;
  });
  const pieces: Buffer[] = [];
  const frameEnds: number[] = [];
  let size = 0;
  for (const step of lines.filter(({ direction }) => direction === '<')) {
    const piece = bytesOf(step, setup);
    size += piece.length;
    pieces.push(piece);
    frameEnds.push(size);
  }
  const isKnown = lines.some(({ direction }) => direction === '>');
  const expected = isKnown ? expectedEvents(lines) : undefined;
  return { name, setup, script, input: Buffer.concat(pieces), frameEnds, expected };
}

function parseSetup(settings: readonly string[]): EndpointSetup {
  const has = (word: string) => settings.includes(word);
  const max = settings.find(setting => setting.startsWith('max='));
  return {
    role: has('client') ? 'client' : 'server',
    maxMessage: max === undefined ? plainServer.maxMessage : Number(max.slice(4)),
    compression: has('takeover') ? 'takeover' : has('on') ? 'on' : 'off',
    closesOnMessage: has('closes'),
  };
}

/** The key of RFC 6455 §5.7. */
export const exampleKey = Buffer.from('37fa213d', 'hex');

function bytesOf(step: FrameLine | BytesLine, { role }: EndpointSetup): Buffer {
  if (step.kind === 'bytes') return step.bytes;
  const { opcode: number = opcode.text, isFinal, isCompressed, form } = step;
  const payload = payloadOf(step);
  const key = role === 'server' ? exampleKey : null;
  return encodeFrame({ opcode: number, isFinal, isCompressed, payload, form }, key);
}

const payloadOf = ({ payload }: FrameLine) => fillPayload(payload, new Map());

/** The expected events of the endpoint: its answers, the received pongs, and the end. */
function expectedEvents(lines: readonly (FrameLine | BytesLine)[]): string[] {
  const events: string[] = [];
  let closed: string | undefined;
  for (const step of lines) {
    if (step.kind === 'bytes' || !step.isFinal) continue;
    const payload = payloadOf(step);
    const isClose = step.opcode === opcode.close;
    if (step.direction === '<') {
      if (step.opcode === opcode.pong && closed === undefined && payload.length <= 125)
        events.push(`pong ${showBytes(payload)}`);
      if (isClose) closed ??= `closed ${showClose(payload)}`;
    } else if (isClose && step.isReasonFree) {
      const code = payload.readUInt16BE();
      events.push(`sends close ${code} "`);
      closed = `closed ${code} "`;
    } else if (isClose) events.push(`sends close ${showClose(payload)}`);
    else if (step.opcode === opcode.pong) events.push(`sends pong ${showBytes(payload)}`);
    else events.push(`${step.opcode === opcode.text ? 'text' : 'binary'} ${showBytes(payload)}`);
  }
  return closed === undefined ? events : [...events, closed];
}

/** Asserts that these are the events that a session expects. */
export function assertEvents(actual: readonly string[], expected: readonly string[]): void {
  const matched = expected.map((line, index) => {
    const other = actual[index] ?? '';
    return line.endsWith(' "') && other.startsWith(line) && other !== `${line}"` ? other : line;
  });
  assert.deepEqual(actual, matched);
}

/** Formats a session as the text of a file. @param expected the events, which become comments */
export function writeSession(
  name: string,
  setup: EndpointSetup,
  input: Buffer,
  expected: readonly string[] = [],
): string {
  const settings = [name, `max=${setup.maxMessage}`];
  if (setup.role === 'client') settings.push('client');
  if (setup.compression !== 'off') settings.push(setup.compression);
  if (setup.closesOnMessage) settings.push('closes');
  const events = expected.map(line => `# expected: ${line}\n`).join('');
  return `== ${settings.join(' | ')}\n< hex ${input.toString('hex')}\n${events}`;
}
