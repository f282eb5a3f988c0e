/**
 * Asks a web app who a client is (`--auth-url`), as nginx does with `auth_request`.
 *
 *     askApp ──► a kept answer
 *        │
 *        ├─────► the same question is waiting or being asked: its answer is shared
 *        │
 *        └─────► the queue ──► at most --auth-concurrency requests ──► the answer is kept and delivered
 *
 * The key of a question is a digest of the fields sent to the app. So a client never gets an answer for other credentials,
 * and credentials are dropped with their question.
 */

import { createHash } from 'node:crypto';
import { addressKey } from '../core/places.ts';
import { log } from '../log/log.ts';
import {
  type AppConnections,
  type AppReply,
  closeIdle,
  newAppConnections,
  sendSubrequest,
} from '../net/subrequest.ts';
import type { Configuration } from '../options/configuration.ts';
import { clock } from '../process/clock.ts';
import {
  appFailureLogInterval,
  appMemoryShare,
  appQuestionMemory,
  maxAppAnswerBytes,
  maxAppFields,
  maxAppQuestionBytes,
} from '../protocol/accessLimits.ts';
import { hostOf, noAddress } from '../protocol/ipAddress.ts';
import type { Server } from '../records/records.ts';
import {
  type AppAnswers,
  clearAnswers,
  findAnswer,
  forgetAnswers,
  keepAnswer,
  newAppAnswers,
} from './appAnswers.ts';
import { type AppQueue, dequeue, enqueue, hasRoomFor, newAppQueue, removeQueued } from './appQueue.ts';
import { type AppAnswer, readReply } from './appReply.ts';
import { onlyCookies } from './credentials.ts';

/** A client's request and its credentials. Strings are latin1, as in its head. */
export interface AppQuestion {
  readonly cookie: string | undefined;
  readonly authorization: string | undefined;
  readonly origin: string | undefined;
  /** The client's, as `connection.address`. */
  readonly address: string;
  /** Path and query of the request, without secrets of our own. */
  readonly uri: string;
  /** The names of the channels asked for, decoded. */
  readonly channels: readonly string[];
}

type Asker = (answer: AppAnswer) => void;

/** A question that waits in the queue, or whose request is under way. */
interface PendingQuestion {
  readonly key: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly addressKey: string;
  readonly bytes: number;
  readonly askers: Set<Asker>;
  /** Its request is under way. */
  isAsked: boolean;
  /** Users forgotten since the request was sent: an answer that names one of them is out of date. */
  forgotten: Set<string> | undefined;
  /** `--auth-url` has changed since the request was sent. */
  isOutdated: boolean;
}

export interface App {
  readonly server: Server;
  /** Undefined without `--auth-url`. A reload replaces it. */
  connections: AppConnections | undefined;
  /** By key. */
  readonly pending: Map<string, PendingQuestion>;
  readonly queue: AppQueue<PendingQuestion>;
  readonly answers: AppAnswers;
  /** Requests under way. */
  requests: number;
  /** Bytes of `pending`. */
  pendingBytes: number;
  /** When a failure was last logged, and the number of failures since. */
  failureLoggedAt: number;
  failures: number;
}

/** Follows `--auth-url` at every reload. */
export function openApp(server: Server): App {
  const { configuration, reloadables } = server;
  const app: App = {
    server,
    connections: connectionsOf(server, configuration),
    pending: new Map(),
    queue: newAppQueue(),
    answers: newAppAnswers(),
    requests: 0,
    pendingBytes: 0,
    failureLoggedAt: Number.NEGATIVE_INFINITY,
    failures: 0,
  };
  reloadables.push({
    prepare: async next => () => {
      changeApp(app, next);
      return [];
    },
  });
  return app;
}

function connectionsOf({ descriptors }: Server, { authUrl }: Configuration): AppConnections | undefined {
  return authUrl === 'none' ? undefined : newAppConnections(authUrl, descriptors);
}

/** If the app changes, drops the answers of the old one. Questions under way are asked again. */
function changeApp(app: App, next: Configuration): void {
  const { connections, pending, answers, server } = app;
  const before = connections?.address.text;
  const after = next.authUrl === 'none' ? undefined : next.authUrl.text;
  if (before !== after) {
    if (connections !== undefined) closeIdle(connections);
    app.connections = connectionsOf(server, next);
    clearAnswers(answers);
    for (const question of pending.values()) question.isOutdated = question.isAsked;
    countMemory(app);
  }
  // The limit on requests may have changed.
  setImmediate(askNext, app);
}

/** Whether there is an app to ask. */
export function hasApp({ connections }: App): boolean {
  return connections !== undefined;
}

/**
 * Asks the app, unless the answer is known. Clients with the same question share one request.
 * @param answered called once, but not before this returns, and not within a turn
 * @returns cancels the question: `answered` is not called any more
 */
export function askApp(app: App, asked: AppQuestion, answered: Asker): () => void {
  const { server } = app;
  const { counters, configuration } = server;
  // A new function for each call: the set of askers would contain `answered` only once.
  const asker: Asker = answer => answered(answer);
  const fields = fieldsOf(asked, configuration.authCookie);
  const key = digestOf(fields, asked);
  const known = findAnswer(app.answers, key, clock(), configuration.authCache);
  if (known !== undefined) {
    counters.appCacheHits++;
    return answerSoon(asker, known);
  }
  let question = app.pending.get(key);
  if (question === undefined) {
    question = newQuestion(key, fields, asked.address);
    const fault = whyNotAsked(app, question);
    if (fault !== undefined) return answerSoon(asker, noteFailure(app, fault));
    addQuestion(app, question);
  }
  question.askers.add(asker);
  const joined = question;
  return () => removeAsker(app, joined, asker);
}

function answerSoon(asker: Asker, answer: AppAnswer): () => void {
  const immediate = setImmediate(asker, answer);
  return () => clearImmediate(immediate);
}

function newQuestion(key: string, fields: PendingQuestion['fields'], address: string): PendingQuestion {
  return {
    key,
    fields,
    addressKey: addressKey(address) ?? '',
    bytes: appQuestionMemory + sizeOf(fields),
    askers: new Set(),
    isAsked: false,
    forgotten: undefined,
    isOutdated: false,
  };
}

function whyNotAsked({ connections, queue, server }: App, question: PendingQuestion): string | undefined {
  if (connections === undefined) return 'is not configured';
  if (sizeOf(question.fields) > maxAppFields)
    return `gets no request of more than ${maxAppFields / 1024} KiB`;
  return hasRoomFor(queue, question, memoryLimit(server, maxAppQuestionBytes))
    ? undefined
    : 'is too slow: too many questions wait for it';
}

/** The smaller of a limit and the share of `--max-memory`. */
function memoryLimit({ configuration: { maxMemory } }: Server, most: number): number {
  return Math.min(most, maxMemory * appMemoryShare);
}

function addQuestion(app: App, question: PendingQuestion): void {
  app.pending.set(question.key, question);
  app.pendingBytes += question.bytes;
  enqueue(app.queue, question);
  countMemory(app);
  // After the turn.
  if (app.requests < concurrencyOf(app)) setImmediate(askNext, app);
}

function removeQuestion(app: App, question: PendingQuestion): void {
  app.pending.delete(question.key);
  app.pendingBytes -= question.bytes;
  countMemory(app);
}

function countMemory({ server, answers, pendingBytes }: App): void {
  server.memory.app = answers.bytes + pendingBytes;
}

/**
 * A question without askers leaves the queue. A request under way continues, and its answer is kept: closing the connection
 * would not stop the app's work, so clients that come and go could exceed `--auth-concurrency`.
 */
function removeAsker(app: App, question: PendingQuestion, asker: Asker): void {
  question.askers.delete(asker);
  if (question.askers.size > 0 || question.isAsked || app.pending.get(question.key) !== question) return;
  removeQueued(app.queue, question);
  removeQuestion(app, question);
}

function concurrencyOf({ server }: App): number {
  return server.configuration.authConcurrency || Number.POSITIVE_INFINITY;
}

/** Sends waiting questions until `--auth-concurrency` requests are under way. */
function askNext(app: App): void {
  while (app.requests < concurrencyOf(app)) {
    const question = dequeue(app.queue);
    if (question === undefined) return;
    if (app.connections === undefined)
      settle(app, question, { kind: 'failed', why: 'is not configured any more' });
    else ask(app, app.connections, question);
  }
}

function ask(app: App, connections: AppConnections, question: PendingQuestion): void {
  question.isAsked = true;
  question.isOutdated = false;
  question.forgotten = undefined;
  app.requests++;
  app.server.counters.appRequests++;
  sendSubrequest(connections, {
    fields: question.fields,
    timeout: app.server.configuration.authTimeout,
    onReply: reply => onReply(app, question, reply),
    onDone() {
      app.requests--;
      askNext(app);
    },
  });
}

function onReply(app: App, question: PendingQuestion, reply: AppReply): void {
  const answer = readReply(reply);
  question.isAsked = false;
  if (isOutdated(question, answer)) {
    if (question.askers.size > 0) enqueue(app.queue, question);
    else removeQuestion(app, question);
    return;
  }
  const { server, answers } = app;
  const lifetime = server.configuration.authCache;
  const maxBytes = memoryLimit(server, maxAppAnswerBytes);
  keepAnswer(answers, question.key, answer, { now: clock(), lifetime, maxBytes });
  if (answer.kind === 'failed') noteFailure(app, answer.why);
  settle(app, question, answer);
}

/** Whether the answer may be older than a log-out, or from an earlier `--auth-url`. */
function isOutdated({ isOutdated: hasChanged, forgotten }: PendingQuestion, answer: AppAnswer): boolean {
  return hasChanged || (answer.kind === 'user' && forgotten?.has(answer.identity.user) === true);
}

function settle(app: App, question: PendingQuestion, answer: AppAnswer): void {
  removeQuestion(app, question);
  for (const asker of question.askers) asker(answer);
}

/** Drops the answers about this user. An answer to a request under way does not count if it names the user. */
export function forgetUser(app: App, user: string): void {
  forgetAnswers(app.answers, user);
  countMemory(app);
  for (const question of app.pending.values()) {
    if (!question.isAsked) continue;
    question.forgotten ??= new Set();
    question.forgotten.add(user);
  }
}

/** Counts a failure, and logs one line per `appFailureLogInterval`. @param why completes "the app …" */
function noteFailure(app: App, why: string): AppAnswer {
  const { server, connections } = app;
  const now = clock();
  server.counters.appFailures++;
  app.failures++;
  if (now - app.failureLoggedAt >= appFailureLogInterval) {
    const url = connections?.address.text;
    log('warn', 'asking the app failed', { url, why: `the app ${why}`, failures: app.failures });
    app.failureLoggedAt = now;
    app.failures = 0;
  }
  return { kind: 'failed', why };
}

/** The header fields of a request to the app. */
function fieldsOf(asked: AppQuestion, authCookie: readonly string[]): Record<string, string> {
  const { origin, address, uri, channels } = asked;
  const hasCookies = authCookie.length > 0;
  const cookie = hasCookies ? onlyCookies(asked.cookie ?? '', authCookie) : asked.cookie;
  const authorization = hasCookies ? undefined : asked.authorization;
  const fields: Record<string, string> = { 'X-Original-URI': withoutPosition(uri) };
  if (cookie) fields['Cookie'] = cookie;
  if (authorization !== undefined) fields['Authorization'] = authorization;
  if (origin !== undefined) fields['Origin'] = origin;
  if (channels.length > 0) fields['X-Channels'] = channels.map(encodeURIComponent).join(', ');
  if (address !== noAddress) fields['X-Forwarded-For'] = hostOf(address);
  return fields;
}

/** Drops a subscriber's position, which changes with each reconnect. No right depends on it. */
function withoutPosition(uri: string): string {
  if (!uri.includes('?')) return uri;
  const [path = '', query = ''] = uri.split(/\?(.*)/s, 2);
  const rest = query.split('&').filter(pair => !/^(?:after|last|lastEventId)=/.test(pair));
  return rest.length > 0 ? `${path}?${rest.join('&')}` : path;
}

/** A digest of the fields. The address counts only for clients without credentials. */
function digestOf(fields: Readonly<Record<string, string>>, { address }: AppQuestion): string {
  const { 'X-Forwarded-For': _, ...rest } = fields;
  const isStranger = rest['Cookie'] === undefined && rest['Authorization'] === undefined;
  const text = JSON.stringify([rest, isStranger ? (addressKey(address) ?? '') : '']);
  return createHash('sha256').update(text).digest('base64');
}

/** In bytes: the fields are latin1. */
function sizeOf(fields: Readonly<Record<string, string>>): number {
  let size = 0;
  for (const [name, value] of Object.entries(fields)) size += name.length + value.length;
  return size;
}
