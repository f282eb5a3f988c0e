import { Buffer } from 'node:buffer';
import { readArguments } from '../options/arguments.ts';
import { invalidValue, quoted, UsageError } from '../options/error.ts';
import { readValues, type ValuesOf } from '../options/option.ts';
import { type HandshakeRequest, startHandshake } from '../protocol/websocket/clientHandshake.ts';
import { type Address, addressForm, parseAddress } from './address.ts';
import { clientOptions, closeFrame } from './options.ts';

type Values = ValuesOf<typeof clientOptions>;

/** How the client is to run. Times are in milliseconds, 0 for never; sizes in bytes, Infinity for any. */
export interface ClientConfiguration
  extends Pick<
    Values,
    | 'cert'
    | 'key'
    | 'ca'
    | 'insecure'
    | 'timeout'
    | 'ping'
    | 'reconnect'
    | 'maxMessage'
    | 'send'
    | 'wait'
    | 'close'
    | 'verbose'
  > {
  readonly address: Address;
  readonly request: HandshakeRequest;
  /** How stdin is made into messages, and messages into stdout. */
  readonly framing: 'lines' | 'null' | 'json' | 'binary';
  /** How many messages to wait for, then leave; 0: no such number. */
  readonly count: number;
  /** Undefined: no chat. */
  readonly chat: { readonly nick: string; readonly room: string } | undefined;
}

export const chatSubprotocol = 'tpacket';

/** Reads the command line (without node and script). Throws UsageError. */
export function readClientConfiguration(argv: readonly string[]): ClientConfiguration | 'help' | 'version' {
  const { given, words } = readArguments<keyof Values>(argv, clientOptions);
  if (given.has('help')) return 'help';
  if (given.has('version')) return 'version';
  const values = readValues(clientOptions, [given]);
  const { close: asked } = values;
  // `--close 4000 bye`: the reason may be a word of its own.
  const isReason = (word: string) => given.has('close') && parseAddress(word) === undefined;
  const [word, ...others] = asked.reason === '' ? words.filter(isReason) : [];
  const close = word === undefined ? asked : readReason(asked.code, word);
  const [url, stray] = word === undefined ? words : [...words.filter(one => !isReason(one)), ...others];
  if (url === undefined) throw invalidValue('the first word', addressForm, url);
  if (stray !== undefined) throw new UsageError(`one URL is enough; leave ${quoted(stray)} out`);
  const address = parseAddress(url);
  if (address === undefined) throw invalidValue('the URL', addressForm, url);
  if (given.has('one') && given.has('count')) throw new UsageError('--one is --count 1; keep one of them');
  if (given.has('room') && !given.has('nick')) throw new UsageError('--room needs a --nick to enter it with');
  const { cert, key, ca } = values;
  const { insecure, timeout, ping, reconnect, maxMessage, send, wait, verbose } = values;
  const configuration: ClientConfiguration = {
    ...{ cert, key, ca },
    ...{ insecure, timeout, ping, reconnect, maxMessage, send, wait, close, verbose },
    address,
    request: makeRequest(address, values),
    framing: chooseFraming(values),
    count: values.one ? 1 : values.count,
    chat: given.has('nick') ? { nick: values.nick, room: values.room } : undefined,
  };
  checkTogether(configuration);
  checkIdentity(configuration);
  return configuration;
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
    // A header value's bytes are what was typed; the handshake writes latin1.
    const bytes = Buffer.from(value).toString('latin1');
    if (name.toLowerCase() === 'host') host = bytes;
    // RFC 9110 §5.3: several of one name are one with commas. RFC 6265 §5.4: cookies have a separator of their own.
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
  if (chosen.length > 1) throw new UsageError(`--${chosen.join(' and --')} exclude each other; keep one`);
  return chosen[0] ?? 'lines';
}

function checkTogether({ chat, framing, reconnect, send, request }: ClientConfiguration): void {
  if (chat !== undefined) {
    if (framing !== 'lines') throw new UsageError(`a chat is made of lines; leave --${framing} out`);
    if (!request.subprotocols.includes(chatSubprotocol)) {
      throw new UsageError(`the chat is the subprotocol ${chatSubprotocol}; ask for it, or leave --nick out`);
    }
  }
  if (framing === 'binary' && send.length === 0 && reconnect) {
    throw new UsageError('stdin can be sent once only: leave --reconnect or --binary out');
  }
}

function checkIdentity({ cert, key, ca, address, insecure }: ClientConfiguration): void {
  const [option] = [cert !== '' && '--cert', key !== '' && '--key', ca.length > 0 && '--ca'].filter(Boolean);
  if (option === undefined) return;
  if (!address.isSecure) throw new UsageError(`${option} is for TLS; use a wss:// URL, or leave it out`);
  if (key !== '' && cert === '')
    throw new UsageError('--key is the key of a certificate; give it with --cert');
  if (insecure && ca.length > 0)
    throw new UsageError('--insecure trusts every certificate; leave it or --ca out');
}
