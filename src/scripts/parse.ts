/** Parses scripts. script.ts describes the language. */
import { nearest, quoted, UsageError } from '../options/error.ts';
import { isWellFormed } from '../options/text.ts';
import { duration } from '../options/values.ts';
import { Opcode, opcodeNames } from '../protocol/codes.ts';
import { isToken } from '../protocol/http/fields.ts';
import {
  maxScriptDepth,
  maxScriptPayload,
  maxScriptPayloads,
  maxScriptRounds,
  maxScriptVariables,
} from '../protocol/scriptLimits.ts';
import { anyPayload, isCapture } from './payload.ts';
import type {
  Direction,
  FrameLine,
  PayloadPart,
  PayloadPattern,
  RepeatBlock,
  Script,
  ScriptStep,
  WrittenForm,
} from './script.ts';

const opcodes: ReadonlyMap<string, number> = new Map(
  [...opcodeNames].map(([opcode, name]) => [name, opcode]),
);

const frameKinds = [...opcodes.keys(), 'any', 'opcode', 'hex', 'end', 'drop'];
const statements = ['wait', 'repeat', 'end', 'set', 'timeout', 'subprotocol', 'strict'];

/** The state of the parser. */
interface Reading {
  /** The open blocks, outermost first. */
  readonly blocks: { readonly steps: ScriptStep[]; readonly head: Omit<RepeatBlock, 'steps'> | undefined }[];
  readonly variables: Set<string>;
  /** Bytes of payload so far. */
  payloads: number;
  isStrict: boolean;
  subprotocol: Script['subprotocol'];
}

/**
 * Parses a script.
 * @param firstLine the line number where the text begins, for errors
 * @throws UsageError that names the line
 */
export function parseScript(name: string, text: string, firstLine = 1): Script {
  const reading: Reading = {
    blocks: [{ steps: [], head: undefined }],
    variables: new Set(),
    payloads: 0,
    isStrict: false,
    subprotocol: undefined,
  };
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = firstLine + index;
    try {
      readLine(reading, raw.trim(), line);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      throw new UsageError(`${name}: line ${line}: ${error.message}`);
    }
  }
  const open = reading.blocks.at(-1)!.head;
  if (open !== undefined)
    throw new UsageError(`${name}: line ${open.line}: the repeat has no end; add a line "end"`);
  const { blocks, isStrict, subprotocol } = reading;
  return { name, steps: blocks[0]!.steps, isStrict, ...(subprotocol === undefined ? {} : { subprotocol }) };
}

function readLine(reading: Reading, source: string, line: number): void {
  if (source === '' || source.startsWith('#')) return;
  const { steps } = reading.blocks.at(-1)!;
  const [, direction, rest = ''] = /^([<>])\s*(.*)$/.exec(source) ?? [];
  if (direction !== undefined) {
    steps.push(readFrame(reading, direction as Direction, rest, line));
    return;
  }
  const words = wordsOf(source);
  const [statement = ''] = words;
  switch (statement) {
    case 'wait':
    case 'timeout':
      steps.push({ kind: statement, time: readTime(words), line, source });
      break;
    case 'strict':
      expectWords(words, 1, 'strict');
      reading.isStrict = true;
      break;
    case 'subprotocol':
      reading.subprotocol = { token: readToken(reading, words), line, source };
      break;
    case 'set':
      steps.push(readSet(reading, words, line, source));
      break;
    case 'repeat':
      beginRepeat(reading, words, line, source);
      break;
    case 'end':
      expectWords(words, 1, 'end');
      endRepeat(reading);
      break;
    default:
      throw unknownWord(statement, statements, `a line begins with <, > or one of ${statements.join(', ')}`);
  }
}

function unknownWord(word: string, known: readonly string[], rule: string): UsageError {
  const likely = nearest(word, known);
  return new UsageError(
    `unknown word ${quoted(word)}; ${likely === undefined ? rule : `did you mean ${likely}?`}`,
  );
}

/** Splits a line into words and quoted strings, without its comment. */
function wordsOf(text: string): string[] {
  const all = text.match(/"(?:\\.|[^"\\])*"|'[^']*'|[^\s"']+|["']/g) ?? [];
  const comment = all.findIndex(word => word.startsWith('#'));
  const words = comment < 0 ? all : all.slice(0, comment);
  if (words.some(word => word === '"' || word === "'"))
    throw new UsageError('a string has no end; add the closing quote');
  return words;
}

function expectWords(words: readonly string[], count: number, usage: string): void {
  if (words.length !== count) throw new UsageError(`write: ${usage}`);
}

function readTime(words: readonly string[]): number {
  const [statement = '', word] = words;
  expectWords(words, 2, `${statement} TIME, such as ${statement} 50ms`);
  const time = duration.parse(word);
  if (time === undefined)
    throw new UsageError(`${statement} takes ${duration.expected}, not ${quoted(word)}`);
  return time;
}

function readToken({ subprotocol }: Reading, words: readonly string[]): string {
  const [, token = ''] = words;
  expectWords(words, 2, 'subprotocol NAME');
  if (!isToken(token))
    throw new UsageError(`${quoted(token)} is not a valid subprotocol; write a token such as chat`);
  if (subprotocol !== undefined) throw new UsageError('a script has one subprotocol; remove a line');
  return token;
}

function readSet(reading: Reading, words: readonly string[], line: number, source: string): ScriptStep {
  const [, name = '', string = ''] = words;
  expectWords(words, 3, 'set NAME "VALUE"');
  const value = readString(reading, string);
  if (value.some(isCapture)) throw new UsageError('set takes a text without captures; write the text');
  const variable = variableName(reading, name);
  return { kind: 'set', variable, value, line, source };
}

function variableName({ variables }: Reading, name: string): string {
  if (!/^[A-Za-z_]\w*$/.test(name))
    throw new UsageError(`a variable has a name of letters, digits and _, not ${quoted(name)}`);
  variables.add(name);
  if (variables.size > maxScriptVariables)
    throw new UsageError(`a script has at most ${maxScriptVariables} variables; use fewer`);
  return name;
}

const repeatUsage = 'repeat, repeat N or repeat N as NAME';

function beginRepeat(reading: Reading, words: readonly string[], line: number, source: string): void {
  if (reading.blocks.length > maxScriptDepth)
    throw new UsageError(`repeats are nested at most ${maxScriptDepth} deep; remove one`);
  const [, ...given] = words;
  let rounds = Number.POSITIVE_INFINITY;
  if (given[0] !== undefined && given[0] !== 'as') {
    const word = given.shift()!;
    rounds = /^\d{1,7}$/.test(word) ? Number(word) : Number.NaN;
    if (!(rounds >= 1 && rounds <= maxScriptRounds))
      throw new UsageError(`repeat takes a number from 1 to ${maxScriptRounds}, not ${quoted(word)}`);
  }
  const [as, name, ...more] = given;
  if (more.length > 0 || (as !== undefined && (as !== 'as' || name === undefined)))
    throw new UsageError(`write: ${repeatUsage}`);
  const counter = name === undefined ? undefined : variableName(reading, name);
  reading.blocks.push({ steps: [], head: { kind: 'repeat', rounds, counter, line, source } });
}

function endRepeat(reading: Reading): void {
  const { steps, head } = reading.blocks.at(-1)!;
  if (head === undefined) throw new UsageError('there is no repeat to end; remove the line');
  // Without one, the player would loop forever within one call.
  if (!steps.some(takesTime)) throw new UsageError('a repeat needs a frame or a wait; add one');
  reading.blocks.pop();
  reading.blocks.at(-1)!.steps.push({ ...head, steps });
}

function takesTime(step: ScriptStep): boolean {
  return step.kind === 'repeat' ? step.steps.some(takesTime) : step.kind !== 'set' && step.kind !== 'timeout';
}

function readFrame(reading: Reading, direction: Direction, source: string, line: number): ScriptStep {
  const [written = '', ...others] = wordsOf(fromTrace(source));
  const [kind = '', ...words] = written.startsWith('op=')
    ? ['opcode', written.slice(3), ...others]
    : [written, ...others];
  if (kind === 'end' || kind === 'drop') {
    expectWords(words, 0, `${direction} ${kind}`);
    return { kind, direction, line, source };
  }
  if (kind === 'hex') {
    const bytes = Buffer.concat(words.map(readHex));
    return { kind: 'bytes', direction, bytes: counted(reading, bytes), line, source };
  }
  const usual = {
    kind: 'frame',
    direction,
    isFinal: true,
    isCompressed: false,
    isReasonFree: false,
    form: {},
    line,
    source,
  } as const;
  if (kind === 'any') {
    expectWords(words, 0, `${direction} any`);
    return { ...usual, opcode: undefined, payload: anyPayload };
  }
  const opcode = kind === 'opcode' ? readNumber('opcode', words.shift() ?? '', 15) : opcodes.get(kind);
  if (opcode === undefined) throw unknownWord(kind, frameKinds, `a frame is one of ${frameKinds.join(', ')}`);
  const step = { ...usual, opcode, ...readRest(reading, words, opcode === Opcode.Close) };
  checkCaptures(step);
  return step;
}

/** Turns a line of the trace into one of a script: `text, 3 bytes, first fragment: "hel" [masked]` is `text more "hel"`. */
function fromTrace(source: string): string {
  const [, kind, details = '', shown = ''] =
    /^([a-z]+(?: \d+)?), \d+ bytes?([a-z0-9(), ]*)(?:: (.*?))?(?: \[[\w, ]+\])?$/.exec(source) ?? [];
  if (kind === undefined) {
    if (/^(?:\d+ bytes?(?:$|:)|HTTP\/|[A-Z]+ \S+ HTTP\/|[\w-]+: )/.test(source))
      throw new UsageError('a script does not contain the handshake; remove the line');
    if (/^(?:message\b.*:|refused:)/.test(source))
      throw new UsageError('this line of the trace is not a frame; remove it');
    return source;
  }
  // A close code has its meaning behind it.
  const payload = kind === 'close' ? shown.replace(/^(\d+) \([^)]*\)/, '$1') : shown;
  if (payload.endsWith('…'))
    throw new UsageError('the trace shows only the beginning of a long payload; write the rest, or any');
  if (/ deflated(?!\))/.test(details))
    throw new UsageError('the trace shows a compressed payload; write the inflated one');
  return `${kind} ${payload}${/first|next/.test(details) ? ' more' : ''}`;
}

function readNumber(option: string, word: string, largest: number): number {
  const number = /^\d{1,20}$/.test(word) ? Number(word) : Number.NaN;
  if (!(number <= largest))
    throw new UsageError(`${option} is a number from 0 to ${largest}, not ${quoted(word)}`);
  return number;
}

function readHex(word: string): Buffer {
  if (!/^(?:[0-9a-f]{2})+$/i.test(word))
    throw new UsageError(`bytes are pairs of hexadecimal digits such as 00ff, not ${quoted(word)}`);
  return Buffer.from(word, 'hex');
}

/** Parses the length in a frame header: 64 bits. */
function readLength(word: string): bigint {
  const length = /^\d{1,20}$/.test(word) ? BigInt(word) : 2n ** 64n;
  if (length >= 2n ** 64n) throw new UsageError(`says is a number below 2^64, not ${quoted(word)}`);
  return length;
}

type Rest = Pick<FrameLine, 'payload' | 'isFinal' | 'isCompressed' | 'isReasonFree' | 'form'>;

/** Parses the payload and the options of a frame, in any order. */
function readRest(reading: Reading, words: readonly string[], isClose: boolean): Rest {
  const parts: PayloadPart[] = [];
  let hasCode = false;
  let isFinal = true;
  let isCompressed = false;
  let form: WrittenForm = {};
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const option = /^(rsv|len|says|key)=(.*)$/.exec(word);
    if (word === 'more') isFinal = false;
    else if (word === 'compressed') isCompressed = true;
    else if (option !== null) form = { ...form, ...readOption(option[1]!, option[2]!) };
    else if (word === 'any') parts.push(...anyPayload);
    else if (word === 'x') parts.push(repeated(reading, parts.pop(), words[++i] ?? ''));
    else if (/^["']/.test(word)) parts.push(...readString(reading, word));
    else if (isClose && parts.length === 0 && /^\d+$/.test(word)) {
      hasCode = true;
      parts.push(closeCode(word));
    } else parts.push(counted(reading, readHex(word.replace(/^hex:/, ''))));
  }
  const isReasonFree = isClose && parts.length === (hasCode ? 1 : 0);
  return { payload: joined(parts), isFinal, isCompressed, isReasonFree, form };
}

function closeCode(word: string): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(readNumber('a close code', word, 65_535));
  return bytes;
}

function readOption(option: string, value: string): WrittenForm {
  switch (option) {
    case 'rsv':
      return { rsv: readNumber('rsv', value, 7) };
    case 'says':
      return { announcedLength: readLength(value) };
    case 'len':
      if (value !== '0' && value !== '2' && value !== '8')
        throw new UsageError(`len is 0, 2 or 8 bytes, not ${quoted(value)}`);
      return { lengthBytes: Number(value) as 0 | 2 | 8 };
    default:
      if (value === 'none') return { key: null };
      if (!/^[0-9a-f]{8}$/i.test(value))
        throw new UsageError(`key is eight hexadecimal digits or none, not ${quoted(value)}`);
      return { key: Buffer.from(value, 'hex') };
  }
}

function repeated(reading: Reading, part: PayloadPart | undefined, word: string): PayloadPart {
  if (part === undefined || !Buffer.isBuffer(part))
    throw new UsageError('x N repeats the bytes or the string before it, without variables');
  const times = readNumber('x', word, maxScriptPayload);
  checkSize(part.length * times);
  return counted(reading, Buffer.alloc(part.length * times, part));
}

function checkSize(size: number): void {
  if (size > maxScriptPayload)
    throw new UsageError(`a payload has at most ${maxScriptPayload} bytes, not ${size}; make it shorter`);
}

function counted(reading: Reading, bytes: Buffer): Buffer {
  reading.payloads += bytes.length;
  if (reading.payloads > maxScriptPayloads)
    throw new UsageError(
      `the payloads of a script have at most ${maxScriptPayloads} bytes together; make them shorter`,
    );
  return bytes;
}

/** Parses a string with variables: `"JSON"` as in the trace, or `'verbatim'`. */
function readString(reading: Reading, word: string): PayloadPart[] {
  const text = word.startsWith("'") ? word.slice(1, -1) : readJsonString(word);
  const parts: PayloadPart[] = [];
  const addText = (piece: string) => parts.push(counted(reading, Buffer.from(piece)));
  let at = 0;
  for (const found of text.matchAll(/\{\{(\w*)(\??)\}\}/g)) {
    if (found.index > at) addText(text.slice(at, found.index));
    at = found.index + found[0].length;
    const [, name = '', mark = ''] = found;
    if (mark === '') parts.push({ variable: knownVariable(reading, name) });
    else parts.push({ capture: name === '' ? '' : variableName(reading, name) });
  }
  if (at < text.length) addText(text.slice(at));
  // An empty string is also a part: `x N` may repeat it.
  return parts.length === 0 ? [Buffer.alloc(0)] : parts;
}

function readJsonString(word: string): string {
  try {
    const text = JSON.parse(word) as string;
    if (isWellFormed(text)) return text;
  } catch {
    // The error below is clearer.
  }
  throw new UsageError(
    `${quoted(word)} is not a JSON string; write '…' for text without escapes, or hexadecimal digits`,
  );
}

function knownVariable({ variables }: Reading, name: string): string {
  if (variables.has(name)) return name;
  const likely = nearest(name, variables);
  const remedy =
    likely === undefined
      ? `write set ${name || 'NAME'} "…", or {{${name}?}} in an awaited line`
      : `did you mean {{${likely}}}?`;
  throw new UsageError(`{{${name}}} has no value yet; ${remedy}`);
}

/** Joins adjacent bytes into one part. */
function joined(parts: readonly PayloadPart[]): PayloadPattern {
  const result: PayloadPart[] = [];
  for (const part of parts) {
    const last = result.at(-1);
    if (Buffer.isBuffer(part) && Buffer.isBuffer(last))
      result[result.length - 1] = Buffer.concat([last, part]);
    else result.push(part);
  }
  checkSize(result.reduce((size, part) => size + (Buffer.isBuffer(part) ? part.length : 0), 0));
  return result;
}

function checkCaptures({ payload }: FrameLine): void {
  const captures = payload.map(isCapture);
  if (captures.some((is, index) => is && captures[index + 1]))
    throw new UsageError('two captures in a row have no boundary; write something between them');
  const names = payload.flatMap(part => (isCapture(part) ? [part.capture] : []));
  const isUsed = payload.some(
    part => !Buffer.isBuffer(part) && 'variable' in part && names.includes(part.variable),
  );
  if (isUsed) throw new UsageError('a line cannot use a variable that it captures; use it in the next line');
}
