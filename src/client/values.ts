/** The kinds of values that only the client's options have. */
import { Buffer } from 'node:buffer';
import { duration, type Kind } from '../options/values.ts';
import { isSendableCloseCode, sendableCloseCodes } from '../protocol/codes.ts';
import { isToken } from '../protocol/http/fields.ts';
import { maxCloseReason } from '../protocol/limits.ts';

/** Any text, the empty one, too. */
export const text: Kind<string> = {
  placeholder: 'TEXT',
  expected: 'a text',
  parse: raw => (typeof raw === 'string' ? raw : undefined),
  show: value => value,
};

/** A nick, or a room: the server says which are fit. */
export const chatName: Kind<string> = {
  placeholder: 'NAME',
  expected: 'a name',
  parse: raw => (typeof raw === 'string' && raw !== '' ? raw : undefined),
  show: value => value,
};

/** RFC 6455 §4.1, 10: a subprotocol's name is a token. */
export const token: Kind<string> = {
  placeholder: 'NAME',
  expected: 'a name without spaces or commas',
  parse: raw => (typeof raw === 'string' && isToken(raw) ? raw : undefined),
  show: value => value,
};

export const headerField: Kind<{ readonly name: string; readonly value: string }> = {
  placeholder: 'FIELD',
  expected: "a header field such as 'Name: value'",
  parse(raw) {
    const [, name = '', value = ''] = typeof raw === 'string' ? (/^([^:]+):[ \t]*(.*)$/.exec(raw) ?? []) : [];
    return isToken(name) ? { name, value: value.trimEnd() } : undefined;
  },
  show: ({ name, value }) => `${name}: ${value}`,
};

/** How long to wait for answers; `quiet`: until none has come for a second. */
export const wait: Kind<number | 'quiet'> = {
  placeholder: 'TIME',
  expected: `${duration.expected.replace(' (', ', quiet or forever (')}`,
  parse: raw => (raw === 'quiet' ? raw : raw === 'forever' ? Number.POSITIVE_INFINITY : duration.parse(raw)),
  show: value =>
    value === 'quiet' ? value : value === Number.POSITIVE_INFINITY ? 'forever' : duration.show(value),
};

/** RFC 6455 §7.4.2: the codes an endpoint may send; §5.5.1: the reason is what a control frame has room for. */
export const closing: Kind<{ readonly code: number; readonly reason: string }> = {
  placeholder: 'CODE[:REASON]',
  expected: `a close code, ${sendableCloseCodes}, and maybe a reason of at most ${maxCloseReason} bytes`,
  parse(raw) {
    const [, digits, reason = ''] = typeof raw === 'string' ? (/^(\d{4})(?::(.*))?$/.exec(raw) ?? []) : [];
    const code = Number(digits);
    return isSendableCloseCode(code) && Buffer.byteLength(reason) <= maxCloseReason
      ? { code, reason }
      : undefined;
  },
  show: ({ code, reason }) => (reason === '' ? String(code) : `${code}:${reason}`),
};
