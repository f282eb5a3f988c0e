/**
 * The paths on which client drivers of Autobahn's suite list cases, run them and request reports. Each is a handler of the
 * same name.
 */
import { resolve } from 'node:path';
import type { ConformanceCase } from '../../conformance/case.ts';
import { closeConnection } from '../../core/close.ts';
import { sendMessage } from '../../core/send.ts';
import { log } from '../../log/log.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import type { Head } from '../../protocol/http/head.ts';
import { parseExtensions } from '../../protocol/websocket/extensions.ts';
import type { Connection, Handler, Server } from '../../records/records.ts';
import { startCase } from './caseWire.ts';
import { noteResult, writeReports } from './reports.ts';
import {
  agentOf,
  newSuite,
  numberOf,
  readSuiteRequest,
  type Suite,
  type SuiteRequest,
  statusKey,
} from './suite.ts';

/** The handlers of `--conformance`. @throws UsageError if `--conformance-exclude` is wrong */
export function conformanceHandlers({
  conformanceExclude,
  reportDir,
}: Server['configuration']): readonly Handler[] {
  // Resolved now, because a daemon changes its working directory later.
  const suite = newSuite(conformanceExclude, reportDir === '' ? '' : resolve(reportDir));
  return [
    newPath(suite, 'getCaseCount', [], connection => answer(connection, suite.cases.length)),
    newPath(suite, 'getCaseInfo', ['test'], (connection, { test }) => {
      answer(connection, { id: numberOf(test!), description: test!.description });
    }),
    newPath(suite, 'getCaseStatus', ['test', 'agent'], (connection, { test, agent }) => {
      answerStatus(suite, connection, test!, agent!);
    }),
    newPath(suite, 'updateReports', ['agent'], connection => {
      const isWritten = writeReports(suite);
      if (isWritten) close(connection);
      else
        closeConnection(connection, CloseCode.InternalError, 'the reports could not be written; see the log');
    }),
    newRunPath(suite),
  ];
}

/** @param wants the required parameters of the query */
function newPath(
  suite: Suite,
  name: string,
  wants: readonly ('test' | 'agent')[],
  opened: (connection: Connection, request: SuiteRequest) => void,
): Handler {
  return {
    name,
    admit: (_, { query }) => checkRequest(suite, query, wants),
    // The classic suite compresses only in the cases of compression.
    grantDeflate: () => undefined,
    opened: (connection, request) => opened(connection, readSuiteRequest(suite, request?.query ?? '')),
    message() {},
    closed: connection => forgetWaiting(suite, connection),
  };
}

/** @throws ProtocolError 400 */
function checkRequest(suite: Suite, query: string, wants: readonly ('test' | 'agent')[]): SuiteRequest {
  const request = readSuiteRequest(suite, query);
  for (const part of wants) {
    if (request[part] === undefined)
      throw new ProtocolError(400, `the query needs ${part === 'test' ? 'case=N' : 'agent=NAME'}`);
  }
  return request;
}

/** Runs a case on the connection. */
function newRunPath(suite: Suite): Handler {
  const requestOf = ({ query }: Head) => checkRequest(suite, query, ['test', 'agent']);
  return {
    name: 'runCase',
    admit: (_, request) => void agentOf(suite, requestOf(request).agent!),

    grantDeflate: (request, offers) => requestOf(request).test?.deflate?.answer(offers),

    opened(connection, request) {
      if (request === undefined) return;
      const { test, agent: name, index } = requestOf(request);
      const agent = agentOf(suite, name!);
      const offers = parseExtensions(request.headers.get('sec-websocket-extensions') ?? '', 400);
      const deflate = test!.deflate?.answer(offers)?.parameters;
      const startedAt = new Date();
      startCase(connection, test!, deflate, (result, outcome) => {
        const { verdict, behavior, behaviorClose } = result;
        log('info', 'case over', { agent: name, case: numberOf(test!), verdict, behavior, behaviorClose });
        noteResult(suite, agent, { agent: name!, index, result, outcome, request, startedAt });
        const key = statusKey(test!, name!);
        for (const waiting of suite.waiting.get(key) ?? []) answer(waiting, { behavior });
        suite.waiting.delete(key);
      });
    },

    // The case's wire reads everything.
    message() {},

    async stopped() {
      if ([...suite.agents.values()].some(({ results }) => results.size > 0)) writeReports(suite);
    },
  };
}

/** Answers when the case is over. */
function answerStatus(suite: Suite, connection: Connection, test: ConformanceCase, agent: string): void {
  const result = suite.agents.get(agent)?.results.get(numberOf(test));
  if (result !== undefined) return answer(connection, { behavior: result.behavior });
  const key = statusKey(test, agent);
  connection.data = key;
  suite.waiting.set(key, (suite.waiting.get(key) ?? new Set()).add(connection));
}

/** @param connection its `data` is the key of the awaited status, if any */
function forgetWaiting({ waiting }: Suite, connection: Connection): void {
  const key = String(connection.data);
  const connections = waiting.get(key);
  if (connections?.delete(connection) === true && connections.size === 0) waiting.delete(key);
}

/** Sends a value as JSON, and closes. */
function answer(connection: Connection, value: unknown): void {
  const bytes = Buffer.from(JSON.stringify(value));
  sendMessage(connection, true, bytes, 0, bytes.length);
  close(connection);
}

/** Starts the closing handshake, without a code, as the classic suite does. */
function close(connection: Connection): void {
  closeConnection(connection, CloseCode.NoStatusReceived, '');
}
