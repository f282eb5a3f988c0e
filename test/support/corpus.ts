/**
 * Sessions as readable files in test/corpus: what a peer sends, and the events that follow. A line is
 *
 *     == NAME [| client] [| max=BYTES] [| on] [| takeover] [| closes]
 *                                 begins a session: our role (default: server), the largest message, whether
 *                                 compression was negotiated, whether we close on the first message
 *     > KIND [OPTION...] [PAYLOAD...]
 *                                 a frame that the peer sends: text, binary, cont, close, ping, pong, or op=N
 *     > raw HEX...                bytes that the peer sends
 *     < EVENT                     the next event: `text "Hello"`, `sends pong ""`, `closed 1000 "bye"`
 *     < fails CODE                short for `sends close` with this code and a reason, then `closed` with both
 *     <= LINE                     the event exactly as endpointRun.ts records it
 *     # ...                       a comment
 *
 * Options: `nofin`, `rsv=1..7` (4 is RSV1), `key=HEX`, `key=none`, `len=0|2|8` (bytes of extended length), `says=N` (the
 * length in the header). A payload consists of `"JSON strings"`, `hex:...` and numbers (two bytes: a close code), each
 * repeated by `x N` behind it; `deflated` compresses the whole and sets RSV1.
 * A session without events (found by the fuzzer) must give the same events wherever it is cut.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { constants, deflateRawSync } from 'node:zlib';
import { type EndpointSetup, plainServer, showBytes, showClose } from './endpointRun.ts';
import { frame, opcode } from './rawFrame.ts';

export interface Session {
  readonly name: string;
  readonly setup: EndpointSetup;
  readonly input: Buffer;
  /** Where each of the peer's frames ends. */
  readonly frameEnds: readonly number[];
  /** An event that ends with an open quote stands for any reason except an empty one; undefined: not known. */
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
      sessions: parseSessions(readFileSync(new URL(file, corpusFolder), 'utf8')),
    }));
}

export function parseSessions(text: string): Session[] {
  const parts = text.replace(/^#.*\n/gm, '').split(/^== /m);
  return parts.slice(1).map(parseSession);
}

function parseSession(text: string): Session {
  const [title = '', ...lines] = text.split('\n').filter(line => line.trim() !== '');
  const [name = '', ...settings] = title.split('|').map(part => part.trim());
  const setup = parseSetup(settings);
  const pieces: Buffer[] = [];
  const frameEnds: number[] = [];
  const expected: string[] = [];
  let size = 0;
  for (const line of lines) {
    const words = line.slice(1).match(/"(?:\\.|[^"\\])*"|\S+/g) ?? [];
    if (line.startsWith('>')) {
      const piece = parseInput(words, setup);
      size += piece.length;
      pieces.push(piece);
      frameEnds.push(size);
    } else if (line.startsWith('<= ')) {
      expected.push(line.slice(3));
    } else {
      assert.ok(line.startsWith('<'), `a line of the corpus is none: ${line}`);
      expected.push(...parseEvent(words));
    }
  }
  const input = Buffer.concat(pieces);
  return { name, setup, input, frameEnds, expected: expected.length === 0 ? undefined : expected };
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

const exampleKey = Buffer.from('37fa213d', 'hex');
const opcodes: Readonly<Record<string, number>> = { ...opcode, cont: opcode.continuation };

function parseInput([kind = '', ...words]: readonly string[], setup: EndpointSetup): Buffer {
  if (kind === 'raw') return Buffer.from(words.join(''), 'hex');
  const number = kind.startsWith('op=') ? Number(kind.slice(3)) : opcodes[kind];
  assert.ok(number !== undefined, `a frame of an unknown kind: ${kind}`);
  const option = (name: string) => words.find(word => word.startsWith(`${name}=`))?.slice(name.length + 1);
  const isDeflated = words.includes('deflated');
  const plain = parsePayload(words.filter(word => !/^(?:deflated$|nofin$|\w+=)/.test(word)));
  const payload = isDeflated ? deflated(plain) : plain;
  const key = option('key') ?? (setup.role === 'server' ? exampleKey.toString('hex') : 'none');
  const lengthBytes = option('len');
  return frame(number, payload, {
    fin: !words.includes('nofin'),
    rsv: Number(option('rsv') ?? (isDeflated ? 4 : 0)),
    key: key === 'none' ? null : Buffer.from(key, 'hex'),
    announcedLength: Number(option('says') ?? payload.length),
    ...(lengthBytes === undefined ? {} : { lengthBytes: Number(lengthBytes) as 0 | 2 | 8 }),
  });
}

/** Compresses like a peer without context takeover. */
function deflated(plain: Buffer): Buffer {
  return deflateRawSync(plain, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
}

function parsePayload(words: readonly string[]): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === 'x') {
      const times = Number(words[++i]);
      parts.push(Buffer.alloc(parts.at(-1)!.length * times, parts.pop()!));
    } else if (word.startsWith('"')) {
      parts.push(Buffer.from(JSON.parse(word) as string));
    } else if (word.startsWith('hex:')) {
      parts.push(Buffer.from(word.slice(4), 'hex'));
    } else {
      assert.match(word, /^\d+$/, 'a payload that is none');
      const code = Buffer.alloc(2);
      code.writeUInt16BE(Number(word));
      parts.push(code);
    }
  }
  return Buffer.concat(parts);
}

function parseEvent(words: readonly string[]): string[] {
  const [kind = '', ...rest] = words;
  if (kind === 'fails') return [`sends close ${rest[0]} "`, `closed ${rest[0]} "`];
  if (kind === 'closed') return [`closed ${rest[0]} ${rest[1] ?? '""'}`];
  if (kind === 'sends' && rest[0] === 'close')
    return [`sends close ${showClose(parsePayload(rest.slice(1)))}`];
  if (kind === 'sends') return [`sends ${rest[0]} ${showBytes(parsePayload(rest.slice(1)))}`];
  return [`${kind} ${showBytes(parsePayload(rest))}`];
}

/** Whether these are the events that a session expects. */
export function assertEvents(actual: readonly string[], expected: readonly string[]): void {
  const matched = expected.map((line, index) => {
    const other = actual[index] ?? '';
    return line.endsWith(' "') && other.startsWith(line) && other !== `${line}"` ? other : line;
  });
  assert.deepEqual(actual, matched);
}

/** Writes a session as a file. */
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
  const events = expected.map(line => `<= ${line}\n`).join('');
  return `== ${settings.join(' | ')}\n> raw ${input.toString('hex')}\n${events}`;
}
