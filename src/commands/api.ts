/**
 * The door over HTTP: `POST /api/COMMAND`, with what it takes as JSON or as a form. On the control socket, which only its
 * owner can reach, no token is needed; elsewhere a request needs a bearer token (RFC 6750 §2.1), and while none is set there
 * is no such door.
 *
 * No page of another origin gets in: it has no token, and a browser lets it send none without asking first (CORS), to
 * which the answer is no.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Connection } from '../core/connection.ts';
import { addressKey } from '../core/places.ts';
import { log } from '../log/log.ts';
import { quoted, UsageError } from '../options/error.ts';
import { decodeText, readText } from '../options/text.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { hasToken } from '../protocol/http/fields.ts';
import { encodeResponse, type Head } from '../protocol/http/head.ts';
import { checkOrigin } from '../protocol/http/origin.ts';
import { guessDelay, maxCommandBody, maxFormValues } from '../protocol/limits.ts';
import { type Route, refuseRequest, respond } from '../wires/route.ts';
import type { Call, Command, Control } from './command.ts';
import { submit } from './commandQueue.ts';
import { commands, findCommand, parseObject, readNamed } from './commands.ts';
import { encodeError, type HttpAnswer, newHttpAnswer } from './httpAnswer.ts';
import { judgeGuess, newGuesses } from './token.ts';

/** The door itself, and what lies behind it. */
const prefix = '/api';

/** Grants everything: the control socket's file mode is the authentication. */
export function newOwnersDoor(control: Control): Route {
  return newDoor(control, () => true);
}

/** A refusal that is put off. */
interface Delayed {
  readonly error: ProtocolError;
  readonly head: Head;
  /** When it is due, on the server's clock. */
  readonly at: number;
}

/** @param token of now; undefined while there is none */
export function newTokenDoor(control: Control, token: () => string | undefined): Route {
  const { server } = control;
  const guesses = newGuesses();
  const delayed = new WeakMap<Connection, Delayed>();

  const door = newDoor(control, (head, connection) => {
    checkOrigin(head, server.configuration.origins);
    // RFC 7235 §2.1: the scheme's name is in any case.
    const given = /^bearer +([\w.~+/-]+=*)$/i.exec(head.headers.get('authorization') ?? '')?.[1];
    if (given === undefined)
      throw unauthorized('this needs a token: send the field "Authorization: Bearer TOKEN"');
    if (isEqual(given, token() ?? '')) return true;
    const address = addressKey(connection.address) ?? connection.address;
    const { delay, isFirstDelayed } = judgeGuess(guesses, address, server.now);
    if (isFirstDelayed) log('warn', 'wrong tokens', { address, answeredAfter: guessDelay });
    if (delay === undefined) throw tooManyGuesses();
    const error = unauthorized(
      'this token is wrong: it is not the one in the file of --api-token',
      'invalid_token',
    );
    if (delay === 0) throw error;
    delayed.set(connection, { error, head, at: server.now + delay });
    return false;
  });

  function refuseNow(connection: Connection, { error, head }: Delayed): void {
    delayed.delete(connection);
    refuseRequest(connection, error, head, route);
  }

  const route: Route = {
    ...door,
    takes: head => token() !== undefined && door.takes(head),

    // No timer of its own: a guess must not cost the server more than the guesser.
    checkDeadlines(connection) {
      const refusal = delayed.get(connection);
      if (refusal !== undefined && server.now >= refusal.at) refuseNow(connection, refusal);
    },

    close(connection, reason) {
      const refusal = delayed.get(connection);
      if (refusal === undefined) door.close?.(connection, reason);
      else refuseNow(connection, refusal);
    },
  };
  return route;
}

/** @param code of RFC 6750 §3.1; a request without a token gets none */
function unauthorized(reason: string, code?: 'invalid_token'): ProtocolError {
  const challenge = `Bearer realm="pollywog"${code === undefined ? '' : `, error="${code}"`}`;
  return new ProtocolError(401, reason, { 'WWW-Authenticate': challenge });
}

function tooManyGuesses(): ProtocolError {
  const reason = 'this token is wrong, and there were too many wrong ones before it; wait a second';
  return new ProtocolError(429, reason, { 'Retry-After': String(guessDelay / 1000) });
}

/** In the same time, wherever they differ, and however long they are. */
function isEqual(given: string, token: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return token !== '' && timingSafeEqual(digest(given), digest(token));
}

/** Of the requests that are being answered. */
const answers = new WeakMap<Connection, HttpAnswer>();

/** @param check whether the request is welcome; false if it is refused later. It throws ProtocolError to refuse it at once */
function newDoor(control: Control, check: (head: Head, connection: Connection) => boolean): Route {
  return {
    takes: ({ path }) => path === prefix || path.startsWith(`${prefix}/`),

    admit: (head, connection) => (check(head, connection) ? maxCommandBody : undefined),

    answer(connection, head, body) {
      if (head.path === prefix || head.path === `${prefix}/`) {
        return respond(connection, describe(head, control.version));
      }
      if (head.method !== 'POST')
        throw new ProtocolError(405, 'a command is sent by POST', { Allow: 'POST' });
      const answer = newHttpAnswer(connection, wantsText(head), head.version === '1.1');
      answers.set(connection, answer);
      try {
        submit(control, readCall(head, body), answer);
      } catch (error) {
        if (!(error instanceof UsageError) && !(error instanceof ProtocolError)) throw error;
        answer.end(error);
      }
    },

    encodeRefusal: (error, head) => encodeError(error, wantsText(head), head.method),

    close(connection, reason) {
      const answer = answers.get(connection);
      answer?.end(answer.isEndless ? undefined : new ProtocolError(503, reason));
    },

    onEnd(connection, error) {
      const answer = answers.get(connection);
      // A peer that has only ended its direction may still wait for an answer, unless that answer is endless.
      if (answer !== undefined && (error !== undefined || answer.isEndless)) answer.leave();
    },
  };
}

function wantsText({ headers }: Head): boolean {
  return hasToken(headers.get('accept'), 'text/plain');
}

function describe({ method }: Head, version: string): Buffer {
  if (method !== 'GET' && method !== 'HEAD') {
    throw new ProtocolError(405, 'the description is only read', { Allow: 'GET, HEAD' });
  }
  const text = `${JSON.stringify(openApi(version), undefined, 2)}\n`;
  const headers = { 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(text)) };
  return encodeResponse(200, headers, method === 'HEAD' ? '' : text);
}

/** @throws UsageError, or ProtocolError 400, 404 or 415 */
function readCall({ path, headers }: Head, body: Buffer): Call {
  const command = findCommand(path.slice(prefix.length + 1));
  const [type = ''] = (headers.get('content-type') ?? '').toLowerCase().split(';', 1);
  if (body.length === 0) return readNamed(command, {});
  const text = readText('the body', body);
  if (type.trim() === 'application/x-www-form-urlencoded') {
    return readNamed(command, parseForm(command, text));
  }
  if (type.trim() !== 'application/json') {
    throw new ProtocolError(415, 'the body is application/json or application/x-www-form-urlencoded');
  }
  return readNamed(command, parseObject(text));
}

/**
 * A list is its name repeated, as browsers send it, with or without the brackets that PHP adds (`arguments[0]=a`).
 * @throws UsageError for any other name that is repeated (two readers could take it for two things), and for text that is
 *   not UTF-8
 */
function parseForm(command: Command, text: string): Readonly<Record<string, unknown>> {
  // They are read in one piece.
  const pairs = text.split('&', maxFormValues + 1);
  if (pairs.length > maxFormValues) throw new UsageError(`a form has at most ${maxFormValues} values`);
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

/** URL Standard §5.1, but bytes that are not UTF-8 are refused, where browsers put U+FFFD. */
function decodeFormText(what: string, text: string): string {
  if (!/[%+]/.test(text)) return text;
  const escaped = Buffer.from(text.replaceAll('+', ' ')).toString('latin1');
  const bytes = escaped.replace(/%([\da-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  return decodeText(`${what} in the form`, Buffer.from(bytes, 'latin1'));
}

/** The commands as OpenAPI has them, so that clients and pages can be made of it. */

const answer = (description: string, schema: object) => ({
  description,
  content: { 'application/json': { schema }, 'text/plain': { schema: { type: 'string' } } },
});

const refused = answer('a sentence that says why', {
  type: 'object',
  properties: { error: { type: 'string' } },
});

/** The description of all commands, OpenAPI 3.1. */
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
    responses: { 200: answer('done', result), default: refused },
  };
}
