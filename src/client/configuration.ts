/** The configuration of the client, from its command line and environment. */

import { Buffer } from 'node:buffer';
import { readArguments } from '../options/arguments.ts';
import { invalidValue, quoted, UsageError } from '../options/error.ts';
import { flagName, readValues, type ValuesOf } from '../options/option.ts';
import { type HandshakeRequest, startHandshake } from '../protocol/websocket/clientHandshake.ts';
import { type Address, addressForm, parseAddress } from './address.ts';
import { clientOptions, closeFrame } from './options.ts';

type Values = ValuesOf<typeof clientOptions>;

/** The settings of one connection. Times are in milliseconds, 0 means never; sizes are in bytes, Infinity means no limit. */
export interface ConnectionSettings
  extends Pick<Values, 'cert' | 'key' | 'ca' | 'insecure' | 'timeout' | 'ping' | 'maxMessage' | 'verbose'> {
  readonly address: Address;
  readonly request: HandshakeRequest;
}

/** The settings of the program. */
export interface ClientConfiguration
  extends ConnectionSettings,
    Pick<Values, 'reconnect' | 'send' | 'wait' | 'close'> {
  /** How stdin is split into messages, and how messages are written to stdout. */
  readonly framing: 'lines' | 'null' | 'json' | 'binary';
  /** The number of messages after which the client closes; 0 means no limit. */
  readonly count: number;
  /** Undefined outside the chat. */
  readonly chat: { readonly nick: string; readonly room: string } | undefined;
  /** Set with `--conformance`. */
  readonly conformance: Pick<Values, 'cases' | 'quick' | 'strict' | 'report'> | undefined;
  /** Set with `--record`. */
  readonly recording: { readonly path: string; readonly hasCredentials: boolean } | undefined;
  /** Set with `--replay`. */
  readonly replay: { readonly paths: readonly string[]; readonly speed: number } | undefined;
}

export const chatSubprotocol = 'tpacket';

/** Reads the command line, without the program's name. @throws UsageError */
export function readClientConfiguration(argv: readonly string[]): ClientConfiguration | 'help' | 'version' {
  const { given, words } = readArguments<keyof Values>(argv, clientOptions);
  if (given.has('help')) return 'help';
  if (given.has('version')) return 'version';
  const values = readValues(clientOptions, [given]);
  const { close: asked } = values;
  // In `--close 4000 bye`, the reason is a separate word.
  const isReason = (word: string) => given.has('close') && parseAddress(word) === undefined;
  const [word, ...others] = asked.reason === '' ? words.filter(isReason) : [];
  const close = word === undefined ? asked : readReason(asked.code, word);
  const [url, stray] = word === undefined ? words : [...words.filter(one => !isReason(one)), ...others];
  if (url === undefined) throw new UsageError(`no URL; give ${addressForm}`);
  if (stray !== undefined) throw new UsageError(`unexpected argument ${quoted(stray)}; give one URL`);
  if (given.has('one') && given.has('count'))
    throw new UsageError('--one means --count 1; remove one of them');
  if (given.has('room') && !given.has('nick')) throw new UsageError('--room needs --nick');
  const { reconnect, send, wait } = values;
  const configuration: ClientConfiguration = {
    ...connectionSettings(url, values),
    ...{ reconnect, send, wait, close },
    framing: chooseFraming(values),
    count: values.one ? 1 : values.count,
    chat: given.has('nick') ? { nick: values.nick, room: values.room } : undefined,
    conformance: values.conformance ? chooseConformance(values) : undefined,
    recording:
      values.record === '' ? undefined : { path: values.record, hasCredentials: values.recordCredentials },
    replay: values.replay.length === 0 ? undefined : { paths: values.replay, speed: values.speed },
  };
  checkConformance(values.conformance, given);
  checkRecordings(given);
  checkTogether(configuration);
  return configuration;
}

/** @throws UsageError */
export function connectionSettings(url: string, values: Values): ConnectionSettings {
  const address = parseAddress(url);
  if (address === undefined) throw invalidValue('the URL', addressForm, url);
  const { cert, key, ca, insecure, timeout, ping, maxMessage, verbose } = values;
  const settings: ConnectionSettings = {
    ...{ cert, key, ca, insecure, timeout, ping, maxMessage, verbose },
    address,
    request: makeRequest(address, values),
  };
  checkIdentity(settings);
  return settings;
}

function readReason(code: number, reason: string): Values['close'] {
  const read = closeFrame.parse(`${code}:${reason}`);
  if (read === undefined) throw invalidValue('--close', closeFrame.expected, reason);
  return read;
}

function makeRequest(address: Address, values: Values): HandshakeRequest {
  const headers: Record<string, string> = {};
  if (address.authorization !== undefined) headers['Authorization'] = address.authorization;
  let host = address.host;
  for (const { name, value } of values.header) {
    const written = Object.keys(headers).find(other => other.toLowerCase() === name.toLowerCase());
    // The handshake is written as latin1; so the value's UTF-8 bytes are kept as they were typed.
    const bytes = Buffer.from(value).toString('latin1');
    if (name.toLowerCase() === 'host') host = bytes;
    // RFC 9110 §5.3: fields of the same name are joined with commas. RFC 6265 §5.4: cookies are joined with semicolons.
    else if (written === undefined) headers[name] = bytes;
    else headers[written] += (name.toLowerCase() === 'cookie' ? '; ' : ', ') + bytes;
  }
  const isChat = values.nick !== '' && values.subprotocol.length === 0;
  const request: HandshakeRequest = {
    host,
    path: address.resource,
    subprotocols: isChat ? [chatSubprotocol] : values.subprotocol,
    headers,
    origin: values.origin === '' ? undefined : values.origin,
    compression: values.compress,
  };
  try {
    startHandshake(request, Buffer.alloc(16));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  return request;
}

function chooseFraming(values: Values): ClientConfiguration['framing'] {
  const chosen = (['null', 'json', 'binary'] as const).filter(name => values[name]);
  if (chosen.length > 1) throw new UsageError(`--${chosen.join(' and --')} cannot be combined; keep one`);
  return chosen[0] ?? 'lines';
}

function chooseConformance({ cases, quick, strict, report }: Values): ClientConfiguration['conformance'] {
  if (report.filter(({ file }) => file === '-').length > 1) {
    throw new UsageError('only one --report can be written to stdout');
  }
  return { cases, quick, strict, report };
}

function checkConformance(isTesting: boolean, given: { has(name: keyof Values): boolean }): void {
  const own = ['cases', 'quick', 'strict', 'report'] as const;
  const session = [
    ...(['send', 'null', 'json', 'binary', 'count', 'one', 'wait', 'close', 'nick', 'room'] as const),
    ...(['reconnect', 'ping', 'compress', 'maxMessage', 'record'] as const),
  ];
  const stray = (isTesting ? session : own).find(name => given.has(name));
  if (stray === undefined) return;
  throw new UsageError(
    isTesting
      ? `--conformance sends the messages of its cases; remove ${flagName(stray)}`
      : `${flagName(stray)} needs --conformance`,
  );
}

function checkRecordings(given: { has(name: keyof Values): boolean }): void {
  if (given.has('speed') && !given.has('replay')) throw new UsageError('--speed needs --replay');
  if (given.has('recordCredentials') && !given.has('record'))
    throw new UsageError('--record-credentials needs --record');
  const other = (['record', 'conformance', 'send', 'nick', 'reconnect'] as const).find(name =>
    given.has(name),
  );
  if (given.has('replay') && other !== undefined)
    throw new UsageError(`--replay sends the recorded messages; remove --${other}`);
}

function checkTogether({ chat, framing, reconnect, send, request }: ClientConfiguration): void {
  if (chat !== undefined) {
    if (framing !== 'lines') throw new UsageError(`the chat sends lines; remove --${framing}`);
    if (!request.subprotocols.includes(chatSubprotocol)) {
      throw new UsageError(`the chat needs the subprotocol ${chatSubprotocol}; offer it, or remove --nick`);
    }
  }
  if (framing === 'binary' && send.length === 0 && reconnect) {
    throw new UsageError('stdin can be sent only once; remove --reconnect or --binary');
  }
}

function checkIdentity({ cert, key, ca, address, insecure }: ConnectionSettings): void {
  const [option] = [cert !== '' && '--cert', key !== '' && '--key', ca.length > 0 && '--ca'].filter(Boolean);
  if (option === undefined) return;
  if (!address.isSecure) throw new UsageError(`${option} is for TLS; use a wss:// URL, or remove it`);
  if (key !== '' && cert === '') throw new UsageError('--key needs --cert');
  if (insecure && ca.length > 0)
    throw new UsageError('--insecure trusts every certificate; remove it or --ca');
}
