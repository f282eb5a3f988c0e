/** The client's options, the kinds of values that only they have, and `--help`. */

import { Buffer } from 'node:buffer';
import { origin } from '../options/addresses.ts';
import { type HelpPage, showHelp } from '../options/help.ts';
import type { OptionTable } from '../options/option.ts';
import {
  casePattern,
  choice,
  count,
  duration,
  flag,
  type Kind,
  namedFile,
  size,
  speed,
} from '../options/values.ts';
import { isSendableCloseCode, sendableCloseCodes } from '../protocol/codes.ts';
import { isToken } from '../protocol/http/fields.ts';
import { defaults, maxCloseReason } from '../protocol/limits.ts';

/** Any text; it may be empty. */
const text: Kind<string> = {
  placeholder: 'TEXT',
  expected: 'a text',
  parse: raw => (typeof raw === 'string' ? raw : undefined),
  show: value => value,
};

/** A nick or a room. The server decides which names are valid. */
const chatName: Kind<string> = {
  placeholder: 'NAME',
  expected: 'a name',
  parse: raw => (typeof raw === 'string' && raw !== '' ? raw : undefined),
  show: value => value,
};

/** RFC 6455 §4.1, item 10: a subprotocol's name is a token. */
const token: Kind<string> = {
  placeholder: 'NAME',
  expected: 'a name without spaces or commas',
  parse: raw => (typeof raw === 'string' && isToken(raw) ? raw : undefined),
  show: value => value,
};

const headerField: Kind<{ readonly name: string; readonly value: string }> = {
  placeholder: 'FIELD',
  expected: "a header field such as 'Name: value'",
  parse(raw) {
    const [, name = '', value = ''] = typeof raw === 'string' ? (/^([^:]+):[ \t]*(.*)$/.exec(raw) ?? []) : [];
    return isToken(name) ? { name, value: value.trimEnd() } : undefined;
  },
  show: ({ name, value }) => `${name}: ${value}`,
};

/** How long to wait for answers; `quiet` waits until none has arrived for a second. */
const wait: Kind<number | 'quiet'> = {
  placeholder: 'TIME',
  expected: `${duration.expected.replace(' (', ', quiet or forever (')}`,
  parse: raw => (raw === 'quiet' ? raw : raw === 'forever' ? Number.POSITIVE_INFINITY : duration.parse(raw)),
  show: value =>
    value === 'quiet' ? value : value === Number.POSITIVE_INFINITY ? 'forever' : duration.show(value),
};

/** RFC 6455 §7.4.2: the codes that an endpoint may send. §5.5.1: the reason must fit into a control frame. */
export const closeFrame: Kind<{ readonly code: number; readonly reason: string }> = {
  placeholder: 'CODE[:REASON]',
  expected: `a close code, ${sendableCloseCodes}, and maybe a reason of at most ${maxCloseReason} bytes`,
  parse(raw) {
    const [, digits, reason = ''] = typeof raw === 'string' ? (/^(\d{4})(?::(.*))?$/.exec(raw) ?? []) : [];
    const code = Number(digits);
    // RFC 6455 §7.4.1 [7.4.1-3]: reserved codes must not be sent.
    return isSendableCloseCode(code) && Buffer.byteLength(reason) <= maxCloseReason
      ? { code, reason }
      : undefined;
  },
  show: ({ code, reason }) => (reason === '' ? String(code) : `${code}:${reason}`),
};

/** The formats of conformance reports. */
export const reportFormats = ['junit', 'json', 'tap', 'html'] as const;

const reportFile: Kind<{ readonly format: (typeof reportFormats)[number]; readonly file: string }> = {
  placeholder: 'FORMAT:FILE',
  expected: `a format (${reportFormats.join(', ')}), a colon and a file, or - for stdout`,
  parse(raw) {
    const [, word, file = ''] = typeof raw === 'string' ? (/^([a-z]+):(.+)$/.exec(raw) ?? []) : [];
    const format = reportFormats.find(name => name === word);
    return format === undefined ? undefined : { format, file };
  },
  show: ({ format, file }) => `${format}:${file}`,
};

export const clientOptions = {
  subprotocol: {
    kind: token,
    short: 's',
    repeatable: true,
    default: [],
    group: 'Connecting',
    help: 'subprotocol to offer, in order of preference',
  },
  header: {
    kind: headerField,
    short: 'H',
    repeatable: true,
    default: [],
    group: 'Connecting',
    help: "send 'Name: value' with the request",
  },
  origin: {
    kind: origin,
    short: 'o',
    default: '',
    group: 'Connecting',
    help: 'send this Origin, as browsers do',
  },
  cert: {
    kind: namedFile,
    default: '',
    group: 'Connecting',
    help: 'wss: client certificate, if the server asks',
  },
  key: {
    kind: namedFile,
    default: '',
    group: 'Connecting',
    help: 'its private key, if in another file',
  },
  ca: {
    kind: namedFile,
    repeatable: true,
    default: [],
    group: 'Connecting',
    help: "wss: trust this CA instead of the system's",
  },
  insecure: {
    kind: flag,
    short: 'k',
    default: false,
    group: 'Connecting',
    help: 'wss: accept any certificate',
  },
  compress: {
    kind: choice(['on', 'off'], 'WORD'),
    default: 'on',
    group: 'Connecting',
    help: 'offer permessage-deflate: on or off',
  },
  timeout: {
    kind: duration,
    default: defaults.handshakeTimeout,
    group: 'Connecting',
    help: 'time limit for connecting and the handshake',
  },
  ping: {
    kind: duration,
    default: 0,
    group: 'Connecting',
    help: 'ping this often; give up if unanswered',
  },
  reconnect: {
    kind: flag,
    default: false,
    group: 'Connecting',
    help: 'dial again if refused or disconnected',
  },
  maxMessage: {
    kind: size,
    default: defaults.maxMessage,
    group: 'Connecting',
    help: 'largest message, and longest line of stdin',
  },
  send: {
    kind: text,
    short: 'x',
    repeatable: true,
    default: [],
    group: 'Messages',
    help: 'send this message instead of stdin',
  },
  null: {
    kind: flag,
    default: false,
    group: 'Messages',
    help: 'messages end in NUL, not in a newline',
  },
  json: {
    kind: flag,
    default: false,
    group: 'Messages',
    help: 'each line is a JSON string',
  },
  binary: {
    kind: flag,
    default: false,
    group: 'Messages',
    help: 'all of stdin is one binary message',
  },
  count: {
    kind: count,
    short: 'n',
    default: 0,
    group: 'Messages',
    help: 'exit after N messages',
  },
  one: {
    kind: flag,
    short: '1',
    default: false,
    group: 'Messages',
    help: 'the same as --count 1',
  },
  wait: {
    kind: wait,
    short: 'w',
    default: 'quiet',
    group: 'Messages',
    help: 'wait this long after the last message',
  },
  close: {
    kind: closeFrame,
    // RFC 6455 §7.4.1 [7.4.1-a]: 1000 is a normal end.
    default: { code: 1000, reason: '' },
    group: 'Messages',
    help: 'close with this code and reason',
  },
  nick: {
    kind: chatName,
    default: '',
    group: 'Chat',
    help: 'join the chat (subprotocol tpacket) by this name',
  },
  room: {
    kind: chatName,
    default: 'lobby',
    group: 'Chat',
    help: 'the room to join',
  },
  conformance: {
    kind: flag,
    default: false,
    group: 'Conformance',
    help: 'test the server, which must echo every message',
  },
  cases: {
    kind: casePattern,
    repeatable: true,
    default: [],
    group: 'Conformance',
    help: "only these cases: 6.4.1 or 'utf8/*'",
  },
  quick: {
    kind: flag,
    default: false,
    group: 'Conformance',
    help: 'leave the large cases out',
  },
  strict: {
    kind: flag,
    default: false,
    group: 'Conformance',
    help: 'exit with 1 if a case is NON-STRICT, too',
  },
  report: {
    kind: reportFile,
    repeatable: true,
    default: [],
    group: 'Conformance',
    help: 'junit, json, tap or html, to a file or -',
  },
  record: {
    kind: namedFile,
    default: '',
    group: 'Recordings',
    help: 'write the session to this file',
  },
  recordCredentials: {
    kind: flag,
    default: false,
    group: 'Recordings',
    help: 'record tokens, cookies and passwords, too',
  },
  replay: {
    kind: namedFile,
    repeatable: true,
    default: [],
    group: 'Recordings',
    help: 'replay a recording, a folder or a HAR file',
  },
  speed: {
    kind: speed,
    default: 1,
    group: 'Recordings',
    help: 'speed of the replay: a factor, or max',
  },
  verbose: {
    kind: flag,
    short: 'v',
    default: false,
    group: 'Running',
    help: 'show handshake and frames on stderr',
  },
  help: {
    kind: flag,
    short: 'h',
    default: false,
    group: 'Running',
    help: 'print this help',
  },
  version: {
    kind: flag,
    short: 'V',
    default: false,
    group: 'Running',
    help: 'print the version',
  },
} as const satisfies OptionTable;

const urls = `URL: ws://HOST:PORT/PATH, wss://..., unix:/SOCKET or ws+unix:/SOCKET:/PATH.
Times: 500ms, 30s, 2m. Sizes: 512KB, 16MB. 0 means never, or no limit.
Options with ... may be repeated. --wait 0 closes at once; --wait quiet waits
until no message has arrived for a second; --wait forever never closes.`;

const streams = `Each line of stdin is sent as a text message. At the end of stdin (or after -x)
the client waits as --wait says, closes, and prints messages until the server
has closed too; at a terminal it closes at once. With -n it waits for N messages
instead, for at most --wait. Messages go to stdout, everything else to stderr.
With --binary, stdout gets the bytes of every message and nothing else; without,
binary messages are shown on stderr. With --reconnect, -x is sent again on each
connection; messages in flight are lost.`;

const exits = `Exit codes: 0 done (closed with 1000, 1001 or 1005), 1 failed, 2 usage, 3 no
server there, 4 handshake refused, 5 closed with another code, 6 timed out,
7 protocol error by the server, 128+N ended by signal N.`;

const examples = `Examples:
  pollywog-client ws://localhost:8080/echo
  pollywog-client ws://localhost:8080/echo -x hello -1
  pollywog-client --nick ada --room pond ws://localhost:8080/
  pollywog-client --conformance ws://localhost:8080/echo --quick`;

const page: HelpPage = {
  usage: 'pollywog-client [OPTION]... URL',
  options: clientOptions,
  paragraphs: [urls, streams, exits, examples],
};

/** The answer to `--help`, without a final newline. */
export function clientHelp(): string {
  return showHelp(page);
}
