/** The verdict on a case: compares the happenings with the plan, and judges how the connection ended. */
import type { Role } from '../protocol/codes.ts';
import type { CasePlan, CloseExpectation, ConformanceCase, ExpectedOutcome, Happening } from './case.ts';
import { matches, showHappenings } from './happenings.ts';

export type CaseVerdict = 'OK' | 'NON-STRICT' | 'INFORMATIONAL' | 'UNIMPLEMENTED' | 'FAILED';

/** How the connection ended, in the classic suite's words. */
export type CloseVerdict =
  | 'OK'
  | 'FAILED'
  /** The peer did not complete a required closing handshake. */
  | 'UNCLEAN'
  | 'WRONG CODE'
  /** The server left the end of TCP to the client (RFC 6455 §7.1.1). */
  | 'FAILED BY CLIENT'
  | 'INFORMATIONAL';

/** The observations of a case, from which `judge` derives its result. */
export interface CaseEvidence {
  readonly test: ConformanceCase;
  readonly plan: CasePlan;
  /** The tester's own role. */
  readonly role: Role;
  /** Whether permessage-deflate was negotiated. */
  readonly isCompressed: boolean;
  readonly happenings: readonly Happening[];
  /** The rule that the peer broke, if any. */
  violation: string | undefined;
  /** The round trip whose echo was wrong. */
  wrongEcho: string | undefined;
  /** How many echoes of round trips have arrived. */
  echoes: number;
  /** Which end sent the first close frame, or dropped TCP. */
  isClosedByTester: boolean;
  hasFailedPeer: boolean;
  /** The tester dropped TCP, although the peer should have ended it. */
  isDroppedByTester: boolean;
  /** The closing handshake is complete. */
  isClean: boolean;
  /** The tester's close code, and the code and reason of the peer's close frame. */
  localCode: number | undefined;
  remoteCode: number | undefined;
  remoteReason: string | undefined;
}

export interface CaseResult {
  readonly test: ConformanceCase;
  /** On the happenings, and on the end of the connection, as in the classic suite's reports. */
  readonly behavior: CaseVerdict;
  readonly behaviorClose: CloseVerdict;
  /** Both combined. */
  readonly verdict: CaseVerdict;
  /** Sentences with the reasons. */
  readonly result: string;
  readonly resultClose: string;
  /** Short phrases for one line of a report. */
  readonly expected: string;
  readonly seen: string;
  readonly remoteCloseCode: number | undefined;
  readonly remoteCloseReason: string | undefined;
  readonly localCloseCode: number | undefined;
  readonly wasClean: boolean;
  readonly closedByTester: boolean;
  readonly failedByTester: boolean;
  readonly droppedByTester: boolean;
}

export function judge(run: CaseEvidence): CaseResult {
  const { test, plan } = run;
  const match = plan.outcomes.find(outcome => matches(run.happenings, outcome.happenings));
  const expectation = match?.close ?? plan.close;
  const close = judgeClose(run, expectation);
  let { verdict: behavior, sentence: result } = judgeBehavior(run, match);
  let behaviorClose = close.verdict;
  const isWrongEnd = (expectation.by === 'tester') !== run.isClosedByTester;
  const isFatal =
    (expectation.isWrongEndFatal === true && isWrongEnd) ||
    (expectation.isWrongCodeFatal === true && behaviorClose === 'WRONG CODE');
  if (isFatal && behavior !== 'UNIMPLEMENTED' && behavior !== 'FAILED') {
    behavior = 'FAILED';
    result = close.sentence;
  }
  if (test.isInformational === true) {
    behavior = 'INFORMATIONAL';
    behaviorClose = 'INFORMATIONAL';
  }
  const isSilent = expectation.wantsFrame === true && run.remoteCode === undefined && behaviorClose === 'OK';
  const verdict = combined(behavior, behaviorClose);
  return {
    ...{ test, behavior, behaviorClose, result },
    verdict: isSilent && verdict === 'OK' ? 'NON-STRICT' : verdict,
    resultClose: isSilent ? 'The peer ended TCP without a close frame.' : close.sentence,
    ...{ expected: showExpected(run), seen: showSeen(run) },
    ...{ remoteCloseCode: run.remoteCode, remoteCloseReason: run.remoteReason },
    ...{ localCloseCode: run.localCode, wasClean: run.isClean, closedByTester: run.isClosedByTester },
    ...{ failedByTester: run.hasFailedPeer, droppedByTester: run.isDroppedByTester },
  };
}

function judgeBehavior(
  run: CaseEvidence,
  match: ExpectedOutcome | undefined,
): { verdict: CaseVerdict; sentence: string } {
  const { test, violation, wrongEcho } = run;
  if (test.deflate !== undefined && !run.isCompressed) {
    return { verdict: 'UNIMPLEMENTED', sentence: 'The peer did not negotiate permessage-deflate.' };
  }
  if (violation !== undefined) return { verdict: 'FAILED', sentence: `The peer broke a rule: ${violation}.` };
  if (wrongEcho !== undefined) return { verdict: 'FAILED', sentence: `${capitalized(wrongEcho)}.` };
  if (run.echoes < roundTripsOf(run.plan)) {
    return { verdict: 'FAILED', sentence: 'Not all messages were echoed in time.' };
  }
  if (match === undefined) {
    return { verdict: 'FAILED', sentence: 'The peer did not answer as expected.' };
  }
  const isBest = match.verdict === 'OK';
  return {
    verdict: match.verdict,
    sentence: isBest ? 'The peer answered as expected.' : 'The peer broke no rule, but was not strict.',
  };
}

function judgeClose(
  run: CaseEvidence,
  { by, codes, isClean }: CloseExpectation,
): { verdict: CloseVerdict; sentence: string } {
  const { remoteCode } = run;
  if ((by === 'tester') !== run.isClosedByTester) {
    const sentence =
      by === 'peer' ? 'The peer did not fail the connection.' : 'The peer closed the connection too early.';
    return { verdict: 'FAILED', sentence };
  }
  if (isClean && !run.isClean) {
    return { verdict: 'UNCLEAN', sentence: 'The peer did not complete the closing handshake.' };
  }
  if (remoteCode !== undefined && !codes.includes(remoteCode)) {
    const sentence = `The close code should be ${codes.join(' or ')} or absent; it is ${remoteCode}.`;
    return { verdict: 'WRONG CODE', sentence };
  }
  if (run.role === 'client' && run.isDroppedByTester) {
    return {
      verdict: 'FAILED BY CLIENT',
      sentence: 'The server did not end TCP after the closing handshake.',
    };
  }
  return { verdict: 'OK', sentence: 'The connection ended as expected.' };
}

/** The result of a case that ended with the opening handshake. @param sentence in lower case, without a full stop */
export function handshakeResult(
  test: ConformanceCase,
  verdict: CaseVerdict,
  sentence: string,
  seen: string,
): CaseResult {
  return {
    ...{ test, behavior: verdict, behaviorClose: 'OK', verdict },
    ...{
      result: `${capitalized(sentence)}.`,
      resultClose: 'There was no connection.',
    },
    expected: showHandshake(test),
    seen: `${seen} (${sentence})`,
    ...{ remoteCloseCode: undefined, remoteCloseReason: undefined, localCloseCode: undefined },
    ...{ wasClean: false, closedByTester: false, failedByTester: false, droppedByTester: false },
  };
}

function showHandshake({ handshake }: ConformanceCase): string {
  const refusal = handshake?.refusal;
  return refusal === undefined ? '101, a valid handshake' : `a refusal with ${refusal.statuses.join(' or ')}`;
}

const capitalized = (text: string) => `${text[0]!.toUpperCase()}${text.slice(1)}`;

/** The worse of both verdicts. */
export function combined(behavior: CaseVerdict, behaviorClose: CloseVerdict): CaseVerdict {
  if (behavior !== 'OK' && behavior !== 'NON-STRICT') return behavior;
  if (behaviorClose === 'FAILED' || behaviorClose === 'UNCLEAN') return 'FAILED';
  return behaviorClose === 'OK' || behaviorClose === 'INFORMATIONAL' ? behavior : 'NON-STRICT';
}

const showEchoes = (count: number) => `${count} ${count === 1 ? 'echo' : 'echoes'}`;

/** The number of round trips in the plan. */
function roundTripsOf({ steps }: CasePlan): number {
  return steps.reduce((sum, step) => sum + (step.do === 'round trips' ? step.count : 0), 0);
}

function showExpected({ plan }: CaseEvidence): string {
  const { outcomes, close } = plan;
  const trips = roundTripsOf(plan);
  const first = trips > 0 ? showEchoes(trips) : showHappenings(outcomes[0]?.happenings ?? []);
  const codes = close.codes.join(' or ');
  return `${first}, then ${close.by === 'peer' ? `the peer closes with ${codes}` : `a close with ${codes}`}`;
}

function showSeen(run: CaseEvidence): string {
  const { happenings, violation, wrongEcho, remoteCode } = run;
  if (violation !== undefined) return `a broken rule: ${violation}`;
  if (wrongEcho !== undefined) return wrongEcho;
  const end = run.isClean
    ? `${run.isClosedByTester ? 'a close' : 'the peer closes'} with ${remoteCode ?? 'no code'}${run.isDroppedByTester ? ', and TCP stays open' : ''}`
    : run.isDroppedByTester
      ? 'no reply to the close'
      : 'the end of TCP without a close frame';
  const events = roundTripsOf(run.plan) === 0 ? showHappenings(happenings) : showEchoes(run.echoes);
  return `${events}, then ${end}`;
}
