/** Explains opening handshakes line by line, RFC 6455 §4, and computes the accept value step by step. */
import { Buffer } from 'node:buffer';
import { ProtocolError, type Role } from '../protocol/codes.ts';
import { hasToken, isToken, splitList } from '../protocol/http/fields.ts';
import { parseExtensions } from '../protocol/websocket/extensions.ts';
import { acceptValueFor, handshakeGuid } from '../protocol/websocket/handshake.ts';
import type { Breach, HandshakeExplanation, LineExplanation } from './records.ts';

/** The fields of a request that its response must match. */
export interface UpgradeRequest {
  readonly key: string | undefined;
  readonly subprotocols: readonly string[];
  readonly extensions: readonly string[];
}

interface HeaderField {
  readonly name: string;
  readonly value: string;
  readonly line: string;
  readonly at: number;
}

/** The meaning of one field of the head, and the rule for its value. */
interface FieldRule {
  readonly section: string;
  meaning(value: string): string;
  fault?(value: string, request: UpgradeRequest | undefined): string | undefined;
  /** The broken rule if the field is missing; undefined for an optional field. */
  readonly required?: string;
}

const section = (number: string) => `RFC 6455 §${number}`;

const requestRules: Readonly<Record<string, FieldRule>> = {
  host: {
    section: section('4.1, item 4'),
    meaning: () => 'the server that the client wants to reach',
    required: 'the field Host is missing',
  },
  upgrade: {
    section: section('4.1, item 5'),
    meaning: () => 'asks to change the protocol of this connection',
    fault: value =>
      hasToken(value, 'websocket') ? undefined : 'the field Upgrade must contain the word websocket',
    required: 'the field Upgrade is missing, so this is an ordinary request',
  },
  connection: {
    section: section('4.1, item 6'),
    meaning: () => 'Upgrade applies to this connection only: a proxy must not forward it blindly',
    fault: value =>
      hasToken(value, 'upgrade') ? undefined : 'the field Connection must contain the word Upgrade',
    required: 'the field Connection is missing',
  },
  'sec-websocket-key': {
    section: section('4.1, item 7'),
    meaning: value => {
      const size = Buffer.from(value, 'base64').length;
      return `${size} random bytes in base64: the server's answer proves that it understood the request`;
    },
    fault: value => (/^[A-Za-z\d+/]{22}==$/.test(value) ? undefined : 'the key must be 16 bytes in base64'),
    required: 'the field Sec-WebSocket-Key is missing',
  },
  'sec-websocket-version': {
    section: section('4.1, item 9'),
    meaning: () => 'the version of the protocol',
    fault: value =>
      value === '13'
        ? undefined
        : 'the version must be 13; the server answers 426 with the version that it supports',
    required: 'the field Sec-WebSocket-Version is missing',
  },
  origin: {
    section: section('4.1, item 8'),
    meaning: value => `the origin of the page is ${value}; the server may refuse it (§10.2)`,
  },
  'sec-websocket-protocol': {
    section: section('4.1, item 10'),
    meaning: value => `offers ${listed(splitList(value))}, in order of preference`,
    fault: value => {
      const names = splitList(value);
      const isValid = names.every(isToken) && new Set(names).size === names.length;
      return isValid ? undefined : 'the subprotocols must be distinct tokens';
    },
  },
  'sec-websocket-extensions': {
    section: section('9.1'),
    meaning: value => `offers ${listed(extensionNames(value) ?? [])}`,
    fault: extensionFault,
  },
  'sec-websocket-accept': {
    section: section('11.3.3'),
    meaning: () => 'a field of the answer',
    fault: () => 'the field Sec-WebSocket-Accept must not be in a request',
  },
};

const responseRules: Readonly<Record<string, FieldRule>> = {
  upgrade: {
    section: section('4.2.2, item 5.2'),
    meaning: () => 'the protocol from here on',
    fault: value =>
      value.toLowerCase() === 'websocket' ? undefined : 'the field Upgrade must be the word websocket',
    required: 'the field Upgrade is missing',
  },
  connection: {
    section: section('4.2.2, item 5.3'),
    meaning: () => 'the server changes the protocol of this connection',
    fault: value =>
      hasToken(value, 'upgrade') ? undefined : 'the field Connection must contain the word Upgrade',
    required: 'the field Connection is missing',
  },
  'sec-websocket-accept': {
    section: section('4.2.2, item 5.4'),
    meaning: () => 'the proof, computed from the key of the request',
    fault: (value, request) => {
      if (request?.key === undefined) return undefined;
      const expected = acceptValueFor(request.key);
      return value === expected
        ? undefined
        : `the accept value must be ${expected} for the key ${request.key}`;
    },
    required: 'the field Sec-WebSocket-Accept is missing',
  },
  'sec-websocket-protocol': {
    section: section('4.2.2, item 5.5'),
    meaning: value => `chooses ${value}`,
    fault: (value, request) =>
      request === undefined || request.subprotocols.includes(value)
        ? undefined
        : `the client did not offer the subprotocol ${value}`,
  },
  'sec-websocket-extensions': {
    section: section('9.1'),
    meaning: value => `agrees to ${listed(extensionNames(value) ?? [])}`,
    fault: (value, request) => {
      const fault = extensionFault(value);
      if (fault !== undefined || request === undefined) return fault;
      const foreign = extensionNames(value)?.find(name => !request.extensions.includes(name));
      return foreign === undefined ? undefined : `the client did not offer the extension ${foreign}`;
    },
  },
  'sec-websocket-version': {
    section: section('4.4'),
    meaning: () => 'the versions that the server supports, sent with a refusal',
  },
};

function listed(names: readonly string[]): string {
  return names.length === 0 ? 'nothing' : names.join(', ');
}

/** @returns undefined if the value is malformed */
function extensionNames(value: string): readonly string[] | undefined {
  try {
    return parseExtensions(value, 400).map(({ name }) => name);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return undefined;
  }
}

function extensionFault(value: string): string | undefined {
  return extensionNames(value) === undefined ? 'the list of extensions is malformed' : undefined;
}

/** @returns the sender of the handshake that the bytes begin; undefined if they begin none */
export function beginsHandshake(bytes: Buffer, start: number): Role | undefined {
  const text = bytes.toString('latin1', start, start + 16);
  if (/^HTTP\/\d/.test(text)) return 'server';
  return /^[A-Z]{3,7} \S/.test(text) ? 'client' : undefined;
}

/** @param request the client's request, if `sender` is the server and the input has it */
export function explainHandshake(
  bytes: Buffer,
  start: number,
  sender: Role,
  request: UpgradeRequest | undefined,
): HandshakeExplanation {
  const lineEnd = lineEndOf(bytes, start);
  const end = bytes.indexOf(lineEnd + lineEnd, start, 'latin1');
  const isWhole = end >= 0;
  const size = (isWhole ? end + 2 * lineEnd.length : bytes.length) - start;
  const [first, ...fields] = readLines(bytes.toString('latin1', start, start + size), start, lineEnd);
  const breaches: Breach[] = [];
  const breach = (rule: string, ofSection: string, at: number) =>
    breaches.push({ rule, section: ofSection, at, response: responseOf(sender) });
  if (lineEnd === '\n')
    breach(
      'each line must end with CR LF, not with LF alone',
      'RFC 9112 §2.1',
      bytes.indexOf(lineEnd, start),
    );
  const lines: LineExplanation[] = [explainFirstLine(first!, sender, breach)];
  const isRefusal = sender === 'server' && !/^HTTP\/1\.1 101(?: |$)/.test(first!.line);
  const rules = sender === 'client' ? requestRules : responseRules;
  for (const field of fields) lines.push(explainField(field, { rules, request, isRefusal, breach }));
  if (isWhole && !isRefusal)
    for (const [name, { required, section: ofSection }] of Object.entries(rules))
      if (required !== undefined && !fields.some(field => field.name === name))
        breach(required, ofSection, start + size - 1);
  const key = sender === 'client' ? readRequest(fields).key : request?.key;
  const accept = key === undefined || isRefusal ? [] : acceptSteps(key);
  return { kind: 'handshake', sender, at: start, size, lines, accept, missing: isWhole ? 0 : 1, breaches };
}

/** The first line shows how all lines end. */
function lineEndOf(bytes: Buffer, start: number): '\r\n' | '\n' {
  const feed = bytes.indexOf('\n', start, 'latin1');
  return feed > start && bytes[feed - 1] !== 0x0d ? '\n' : '\r\n';
}

/** Whether `bytes` have the empty line that ends the head. @param searched an earlier search has reached this index */
export function hasHeadEnd(bytes: Buffer, start: number, searched: number): boolean {
  const lineEnd = lineEndOf(bytes, start);
  return bytes.indexOf(lineEnd + lineEnd, Math.max(start, searched - 3), 'latin1') >= 0;
}

function readLines(head: string, start: number, lineEnd: string): HeaderField[] {
  let at = start;
  const fields: HeaderField[] = [];
  for (const line of head.split(lineEnd)) {
    const colon = line.indexOf(':');
    if (line !== '')
      fields.push({
        name: line.slice(0, Math.max(0, colon)).toLowerCase(),
        value: line.slice(colon + 1).trim(),
        line,
        at,
      });
    at += line.length + lineEnd.length;
  }
  return fields;
}

type Breaches = (rule: string, section: string, at: number) => void;

function explainFirstLine({ line, at }: HeaderField, sender: Role, breach: Breaches): LineExplanation {
  if (sender === 'server') {
    const status = Number(/^HTTP\/\d\.\d (\d{3})/.exec(line)?.[1] ?? 0);
    if (status === 101)
      return {
        line,
        at,
        meaning: 'the server agrees: frames follow this head',
        section: section('4.2.2, item 5.1'),
      };
    breach(
      `the server refused the handshake: a WebSocket opens with the status 101, not ${status}`,
      section('4.1'),
      at,
    );
    return { line, at, meaning: 'no WebSocket: the status has its meaning in HTTP', section: section('4.1') };
  }
  const [method, target = '', version = ''] = line.split(' ');
  if (method !== 'GET') breach(`the method must be GET, not ${method}`, section('4.1, item 2'), at);
  const number = /^HTTP\/(\d)\.(\d)$/.exec(version);
  if (number === null || Number(number[1]) < 1 || (number[1] === '1' && number[2] === '0'))
    breach('the version must be HTTP/1.1 or later', section('4.1, item 2'), at);
  const [path = '', query] = target.split('?');
  const asked = query === undefined ? '' : `, with the query ${query}`;
  return {
    line,
    at,
    meaning: `asks for the resource ${path}${asked}`,
    section: section('4.1, items 1 to 3'),
  };
}

function explainField(
  { name, value, line, at }: HeaderField,
  {
    rules,
    request,
    isRefusal,
    breach,
  }: {
    rules: Readonly<Record<string, FieldRule>>;
    request: UpgradeRequest | undefined;
    isRefusal: boolean;
    breach: Breaches;
  },
): LineExplanation {
  const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
  if (rule === undefined) return { line, at, meaning: 'does not belong to the handshake', section: '' };
  const fault = isRefusal ? undefined : rule.fault?.(value, request);
  if (fault !== undefined) breach(fault, rule.section, at);
  return { line, at, meaning: rule.meaning(value), section: rule.section };
}

function responseOf(sender: Role): string {
  return sender === 'client'
    ? 'The server must not open a WebSocket: it answers with an HTTP status such as 400 (RFC 6455 §4.2.2).'
    : 'The client must fail the connection (RFC 6455 §4.1): it closes TCP without a close frame.';
}

function acceptSteps(key: string): string[] {
  const accept = acceptValueFor(key);
  return [
    `key             ${key}`,
    `+ GUID          ${key}${handshakeGuid}`,
    `SHA-1           ${Buffer.from(accept, 'base64').toString('hex')}`,
    `base64          ${accept}`,
  ];
}

/** The fields of a request that its response must match. */
export function requestOf(bytes: Buffer, { at, size }: HandshakeExplanation): UpgradeRequest {
  return readRequest(readLines(bytes.toString('latin1', at, at + size), at, lineEndOf(bytes, at)).slice(1));
}

function readRequest(fields: readonly HeaderField[]): UpgradeRequest {
  const fieldValue = (name: string) => fields.find(field => field.name === name)?.value;
  const subprotocols = splitList(fieldValue('sec-websocket-protocol') ?? '');
  const extensions = extensionNames(fieldValue('sec-websocket-extensions') ?? '') ?? [];
  return { key: fieldValue('sec-websocket-key'), subprotocols, extensions };
}

/** The value of the field Sec-WebSocket-Extensions; undefined if there is none. */
export function extensionsOf({ lines }: HandshakeExplanation): string | undefined {
  const fields = lines.map(({ line }) => /^sec-websocket-extensions:[ \t]*(.*)$/i.exec(line)?.[1]);
  const values = fields.filter(value => value !== undefined);
  return values.length === 0 ? undefined : values.join(', ');
}
