/** The client's table of options. */
import { origin } from '../options/addresses.ts';
import type { OptionTable } from '../options/option.ts';
import { choice, count, duration, flag, pemFile, size } from '../options/values.ts';
import { defaults } from '../protocol/limits.ts';
import { chatName, closing, headerField, text, token, wait } from './values.ts';

export const table = {
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
    kind: pemFile,
    default: '',
    group: 'Connecting',
    help: 'wss: our certificate, if the server asks',
  },
  key: {
    kind: pemFile,
    default: '',
    group: 'Connecting',
    help: 'its private key, if in another file',
  },
  ca: {
    kind: pemFile,
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
    help: 'ping this often; give up if nothing comes back',
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
    help: 'wait this long after the last message sent',
  },
  close: {
    kind: closing,
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
