/**
 * Commands over HTTP: `POST /api/COMMAND` with parameters as JSON or a form; `GET /api` describes them as OpenAPI. The control
 * socket needs no token, because only its owner can reach it. Elsewhere a request needs a bearer token (RFC 6750 §2.1), and
 * without a configured token the routes do not exist.
 *
 * Pages of other origins stay out: they do not have the token, and before a browser sends an Authorization field to another
 * origin it asks with a preflight (CORS), which is refused.
 */
import { isApiToken, isReadToken, type Tokens } from '../access/tokens.ts';
import { quoted, UsageError } from '../options/error.ts';
import { decodeText, readText } from '../options/text.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { hasToken } from '../protocol/http/fields.ts';
import type { Head, HttpResponse } from '../protocol/http/head.ts';
import { formDecode } from '../protocol/http/path.ts';
import { maxCommandBody, maxFormValues } from '../protocol/limits.ts';
import type { Connection } from '../records/records.ts';
import { type TokenRule, withToken } from '../wires/bearer.ts';
import { type Route, respond } from '../wires/route.ts';
import { isStreamUnread } from '../wires/unreadStream.ts';
import type { Call, Command, Control } from './command.ts';
import { submit } from './commandQueue.ts';
import { commands, findCommand, parseNamed, parseObject } from './commands.ts';
import { errorReply, type HttpReply, newHttpReply } from './httpReply.ts';

const prefix = '/api';

/** The route on the control socket. Grants everything: the socket's file mode is the authentication. */
export function newControlRoute(control: Control): Route {
  return newCommandRoute(control);
}

/** @returns false for another token @throws ProtocolError 403 for a command that is not read-only */
function isGrantedToRead(tokens: Tokens, token: string, { path }: Head): boolean {
  if (!isReadToken(tokens, token)) return false;
  const name = path.slice(prefix.length + 1);
  const command = commands.get(name);
  if (command === undefined || command.isReadOnly) return true;
  throw new ProtocolError(403, `--read-token does not allow ${name}; use the token of --api-token`);
}

/** The route on the public listeners. Without an API token or a read token it does not exist. */
export function newApiRoute(control: Control, tokens: Tokens): Route {
  const commandRoute = newCommandRoute(control);
  const rule: TokenRule = {
    tokens,
    isGranted: (token, head) => isApiToken(tokens, token) || isGrantedToRead(tokens, token, head),
    remedy: 'use the one in the file that --api-token names',
  };
  return {
    ...withToken(control.server, rule, commandRoute),
    takes: head => (tokens.api ?? tokens.read) !== undefined && commandRoute.takes(head),
  };
}

/** Replies that have not ended. */
const replies = new WeakMap<Connection, HttpReply>();

function newCommandRoute(control: Control): Route {
  return {
    takes: ({ path }) => path === prefix || path.startsWith(`${prefix}/`),

    admit: () => maxCommandBody,

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

    checkDeadlines(connection) {
      // On the control socket, the reader is the terminal of the operator, who may stop it for a while.
      if (!connection.isControl && replies.get(connection)?.isEndless) isStreamUnread(connection);
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
export function decodeFormText(what: string, text: string): string {
  if (!/[%+]/.test(text)) return text;
  return decodeText(`${what} in the form`, formDecode(text));
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
