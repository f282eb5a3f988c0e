/** The report of one case, in the format of the classic suite's JSON. */
import type { Happening } from '../../conformance/case.ts';
import type { CaseResult } from '../../conformance/verdict.ts';
import type { Head } from '../../protocol/http/head.ts';
import type { CaseOutcome } from './caseWire.ts';
import { numberOf } from './suite.ts';

/** A JSON value. */
type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

export interface ReportedCase {
  readonly agent: string;
  /** The place of the case in the suite, from 1. */
  readonly index: number;
  readonly result: CaseResult;
  readonly outcome: CaseOutcome;
  readonly request: Head;
  readonly startedAt: Date;
}

export function caseReport({ agent, index, result, outcome, request, startedAt }: ReportedCase): Json {
  const { test } = result;
  const { plan, happenings } = outcome.run;
  const { by, codes, isClean } = plan.close;
  return {
    agent,
    behavior: result.behavior,
    behaviorClose: result.behaviorClose,
    case: index,
    closedByMe: result.closedByTester,
    createWirelog: !outcome.wireLog.isCut,
    description: test.description,
    droppedByMe: result.droppedByTester,
    duration: outcome.duration,
    expectation: test.expectation,
    expected: Object.fromEntries(
      plan.outcomes.map(({ verdict, happenings: its }) => [verdict, its.map(shown)]),
    ),
    expectedClose: { closeCode: codes, closedByMe: by === 'tester', requireClean: isClean },
    failedByMe: result.failedByTester,
    httpRequest: requestText(request),
    id: numberOf(test),
    isServer: true,
    localCloseCode: result.localCloseCode ?? null,
    name: test.name,
    received: happenings.map(shown),
    remoteCloseCode: result.remoteCloseCode ?? null,
    remoteCloseReason: result.remoteCloseReason ?? null,
    reportTime: test.isLarge === true,
    result: result.result,
    resultClose: result.resultClose,
    started: startedAt.toISOString(),
    wasClean: result.wasClean,
    wirelog: outcome.wireLog.lines,
  };
}

/** The most bytes of a payload that a report shows. */
const shownPayload = 64;

function shown(happening: Happening): Json {
  if (happening.is === 'timeout') return ['timeout', happening.label];
  const { payload } = happening;
  return happening.is === 'message'
    ? ['message', payloadText(payload), !happening.isText]
    : [happening.is, payloadText(payload)];
}

/** The beginning of the payload: as text if it is UTF-8, else in hexadecimal digits. */
function payloadText(payload: Buffer): string {
  const start = payload.subarray(0, shownPayload);
  const isCut = payload.length > shownPayload;
  const more = isCut ? ' ...' : '';
  try {
    // `stream` omits an incomplete last character.
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(start, { stream: isCut });
    return text + more;
  } catch {
    return `0x${start.toString('hex')}${more}`;
  }
}

/** Fields that may carry credentials. */
const secretFields = new Set(['authorization', 'cookie', 'proxy-authorization']);

/** The request of the handshake, without credentials. */
function requestText({ method, target, version, headers }: Head): string {
  const lines = [...headers]
    .filter(([name]) => !secretFields.has(name))
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${target} HTTP/${version}\r\n${lines.join('')}\r\n`;
}
