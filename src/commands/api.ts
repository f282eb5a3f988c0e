/**
 * Commands over HTTP: `POST /api/COMMAND` with parameters as JSON or a form; `GET /api` describes them as OpenAPI. The control
 * socket needs no token, because only its owner can reach it. Elsewhere a request needs a bearer token (RFC 6750 §2.1), and
 * without a configured token the routes do not exist.
 *
 * Pages of other origins stay out: they do not have the token, and before a browser sends an Authorization field to another
 * origin it asks with a preflight (CORS), which is refused.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { addressKey } from '../core/places.ts';
import { log } from '../log/log.ts';
import { quoted, UsageError } from '../options/error.ts';
import { decodeText, readText } from '../options/text.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { hasToken } from '../protocol/http/fields.ts';
import type { Head, HttpResponse } from '../protocol/http/head.ts';
import { checkOrigin } from '../protocol/http/origin.ts';
import { guessDelay, maxCommandBody, maxFormValues } from '../protocol/limits.ts';
import type { Connection } from '../records/records.ts';
import { type Route, refuseRequest, respond } from '../wires/route.ts';
import type { Call, Command, Control } from './command.ts';
import { submit } from './commandQueue.ts';
import { commands, findCommand, parseNamed, parseObject } from './commands.ts';
import { errorReply, type HttpReply, newHttpReply } from './httpReply.ts';
import { judgeGuess, newGuesses } from './token.ts';

const prefix = '/api';

/** The route on the control socket. Grants everything: the socket's file mode is the authentication. */
export function newControlRoute(control: Control): Route {
  return newCommandRoute(control, () => true);
}

interface DelayedRefusal {
  readonly error: ProtocolError;
  /** When it is due, on the server's clock. */
  readonly at: number;
}

/** The route on the public listeners. @param token gives the current token, if there is one */
export function newApiRoute(control: Control, token: () => string | undefined): Route {
  const { server } = control;
  const guesses = newGuesses();
  const delayed = new WeakMap<Connection, DelayedRefusal>();

  const commandRoute = newCommandRoute(control, (head, connection) => {
    checkOrigin(head, server.configuration.origins);
    // RFC 9110 §11.1: the scheme is case-insensitive.
    const given = /^bearer +([\w.~+/-]+=*)$/i.exec(head.headers.get('authorization') ?? '')?.[1];
    if (given === undefined)
      throw unauthorized('a token is needed; send the header field "Authorization: Bearer TOKEN"');
    if (isEqual(given, token() ?? '')) return true;
    const address = addressKey(connection.address) ?? connection.address;
    const { delay, isFirstDelayed } = judgeGuess(guesses, address, server.now);
    if (isFirstDelayed) log('warn', 'wrong tokens', { address, answeredAfter: guessDelay });
    if (delay === undefined) throw tooManyGuesses();
    const error = unauthorized(
      'wrong token; use the one in the file that --api-token names',
      'invalid_token',
    );
    if (delay === 0) throw error;
    delayed.set(connection, { error, at: server.now + delay });
    return false;
  });

  function refuseNow(connection: Connection, { error }: DelayedRefusal): void {
    delayed.delete(connection);
    refuseRequest(connection, error);
  }

  const route: Route = {
    ...commandRoute,
    takes: head => token() !== undefined && commandRoute.takes(head),

    // The regular check of deadlines replaces a timer for each guess, so guesses stay cheap for the server.
    checkDeadlines(connection) {
      const refusal = delayed.get(connection);
      if (refusal !== undefined && server.now >= refusal.at) refuseNow(connection, refusal);
    },

    close(connection, reason) {
      const refusal = delayed.get(connection);
      if (refusal === undefined) commandRoute.close?.(connection, reason);
      else refuseNow(connection, refusal);
    },
  };
  return route;
}

/** @param code RFC 6750 §3.1: left out if the request had no token */
function unauthorized(reason: string, code?: 'invalid_token'): ProtocolError {
  const challenge = `Bearer realm="pollywog"${code === undefined ? '' : `, error="${code}"`}`;
  return new ProtocolError(401, reason, { 'WWW-Authenticate': challenge });
}

function tooManyGuesses(): ProtocolError {
  const reason = 'too many wrong tokens; wait a second';
  return new ProtocolError(429, reason, { 'Retry-After': String(guessDelay / 1000) });
}

/** Constant time, whatever the lengths and wherever the first difference. */
function isEqual(given: string, token: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return token !== '' && timingSafeEqual(digest(given), digest(token));
}

/** Replies that have not ended. */
const replies = new WeakMap<Connection, HttpReply>();

/**
 * @param authorize false: the request will be refused later; throws ProtocolError to refuse it at once
 */
function newCommandRoute(
  control: Control,
  authorize: (head: Head, connection: Connection) => boolean,
): Route {
  return {
    takes: ({ path }) => path === prefix || path.startsWith(`${prefix}/`),

    admit: (head, connection) => (authorize(head, connection) ? maxCommandBody : undefined),

    answer(connection, head, body) {
      if (head.path === prefix || head.path === `${prefix}/`) {
        return respond(connection, describe(head, control.version));
      }
      if (head.method !== 'POST') throw new ProtocolError(405, 'send commands with POST', { Allow: 'POST' });
      const reply = newHttpReply(connection, wantsText(head), head.version === '1.1');
      replies.set(connection, reply);
      try {
        submit(control, parseCall(head, body), reply);
      } catch (error) {
        if (!(error instanceof UsageError) && !(error instanceof ProtocolError)) throw error;
        reply.end(error);
      }
    },

    formatRefusal: (error, head) => errorReply(error, wantsText(head)),

    close(connection, reason) {
      const reply = replies.get(connection);
      reply?.end(reply.isEndless ? undefined : new ProtocolError(503, reason));
    },

    onEnd(connection, error) {
      const reply = replies.get(connection);
      // After a half-close the client still waits for its response, but not for an endless one.
      if (reply !== undefined && (error !== undefined || reply.isEndless)) reply.abort();
    },
  };
}

function wantsText({ headers }: Head): boolean {
  return hasToken(headers.get('accept'), 'text/plain');
}

function describe({ method }: Head, version: string): HttpResponse {
  if (method !== 'GET' && method !== 'HEAD') {
    throw new ProtocolError(405, 'get the description with GET', { Allow: 'GET, HEAD' });
  }
  const text = `${JSON.stringify(openApi(version), undefined, 2)}\n`;
  return { status: 200, headers: { 'Content-Type': 'application/json' }, body: text };
}

/** @throws UsageError, or ProtocolError 400, 404 or 415 */
function parseCall({ path, headers }: Head, body: Buffer): Call {
  const command = findCommand(path.slice(prefix.length + 1));
  const [type = ''] = (headers.get('content-type') ?? '').toLowerCase().split(';', 1);
  if (body.length === 0) return parseNamed(command, {});
  const text = readText('the body', body);
  if (type.trim() === 'application/x-www-form-urlencoded') {
    return parseNamed(command, parseForm(command, text));
  }
  if (type.trim() !== 'application/json') {
    throw new ProtocolError(
      415,
      'the body must be application/json or application/x-www-form-urlencoded; name which in Content-Type',
    );
  }
  return parseNamed(command, parseObject(text));
}

/**
 * A list repeats its name, as browsers send it, with or without the brackets that PHP adds (`arguments[0]=a`).
 * @throws UsageError for text that is not UTF-8, and for any other repeated name: parsers disagree about which value counts
 */
function parseForm(command: Command, text: string): Readonly<Record<string, unknown>> {
  // A form is parsed in one go.
  const pairs = text.split('&', maxFormValues + 1);
  if (pairs.length > maxFormValues) throw new UsageError(`a form can have at most ${maxFormValues} values`);
  const values = new Map<string, string | string[]>();
  for (const pair of pairs) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = decodeFormText('a name', equals < 0 ? pair : pair.slice(0, equals));
    const value = decodeFormText(quoted(name), equals < 0 ? '' : pair.slice(equals + 1));
    const listName = name.replace(/\[\d*\]$/, '');
    const list = values.get(listName);
    if (command.parameters[listName]?.rest !== 'list') {
      if (values.has(name)) throw new UsageError(`${quoted(name)} is given twice; keep one`);
      values.set(name, value);
    } else if (Array.isArray(list)) {
      list.push(value);
    } else {
      values.set(listName, [value]);
    }
  }
  return Object.fromEntries(values);
}

/** URL Standard §5.1, except that invalid UTF-8 is refused instead of replaced by U+FFFD. */
function decodeFormText(what: string, text: string): string {
  if (!/[%+]/.test(text)) return text;
  const escaped = Buffer.from(text.replaceAll('+', ' ')).toString('latin1');
  const bytes = escaped.replace(/%([\da-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  return decodeText(`${what} in the form`, Buffer.from(bytes, 'latin1'));
}

const response = (description: string, schema: object) => ({
  description,
  content: { 'application/json': { schema }, 'text/plain': { schema: { type: 'string' } } },
});

const errorResponse = response('the reason, in a sentence', {
  type: 'object',
  properties: { error: { type: 'string' } },
});

/** Describes all commands in OpenAPI 3.1. */
export function openApi(version: string): object {
  const paths = [...commands.values()].map(command => [`/api/${command.name}`, { post: operation(command) }]);
  return {
    openapi: '3.1.0',
    info: { title: 'Pollywog', version, description: 'The commands of a running server.' },
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    security: [{ token: [] }],
    paths: Object.fromEntries(paths),
  };
}

function operation({ name, help, parameters, columns }: Command): object {
  const entries = Object.entries(parameters);
  const properties = Object.fromEntries(
    entries.map(([parameter, { kind, rest }]) => [
      parameter,
      {
        description: kind.expected,
        ...(rest === 'list' ? { type: 'array', items: { type: 'string' } } : {}),
      },
    ]),
  );
  const takesBytes = entries.some(([, { orBytes }]) => orBytes);
  const schema = {
    type: 'object',
    properties: takesBytes ? { ...properties, binary: { type: 'string', format: 'byte' } } : properties,
    required: entries.filter(([, one]) => !one.optional && !one.orBytes).map(([parameter]) => parameter),
    additionalProperties: false,
  };
  const result = columns === undefined ? {} : { type: 'array', items: { type: 'object' } };
  return {
    operationId: name,
    summary: help,
    requestBody: {
      required: schema.required.length > 0 || takesBytes,
      content: {
        'application/json': { schema },
        'application/x-www-form-urlencoded': { schema },
      },
    },
    responses: { 200: response('done', result), default: errorResponse },
  };
}
