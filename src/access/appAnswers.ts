/** The app's answers that are still valid, by the key of their question. Their number and memory are bounded. */

import { appAnswerMemory, maxAppAnswers, refusalCacheTime } from '../protocol/accessLimits.ts';
import type { AppAnswer } from './appReply.ts';

interface Kept {
  readonly answer: AppAnswer;
  /** When it arrived, on the server's clock. */
  readonly since: number;
  readonly bytes: number;
}

export interface AppAnswers {
  /** Oldest first. Refusals are separate: any client can cause a flood of them, which must not evict users. */
  readonly users: Map<string, Kept>;
  readonly refusals: Map<string, Kept>;
  bytes: number;
}

export function newAppAnswers(): AppAnswers {
  return { users: new Map(), refusals: new Map(), bytes: 0 };
}

/** @param lifetime milliseconds for which an answer with a user is valid */
export function findAnswer(
  answers: AppAnswers,
  key: string,
  now: number,
  lifetime: number,
): AppAnswer | undefined {
  for (const [kept, most] of lists(answers, lifetime)) {
    const found = kept.get(key);
    if (found === undefined) continue;
    if (now - found.since < most) return found.answer;
    drop(answers, kept, key, found);
  }
  return undefined;
}

/** Keeps an answer unless it is a failure. Above the limits the oldest answers are dropped, refusals first. */
export function keepAnswer(
  answers: AppAnswers,
  key: string,
  answer: AppAnswer,
  { now, lifetime, maxBytes }: { now: number; lifetime: number; maxBytes: number },
): void {
  if (lifetime === 0 || answer.kind === 'failed') return;
  const { users, refusals } = answers;
  const kept = answer.kind === 'user' ? users : refusals;
  const bytes = appAnswerMemory + sizeOf(answer);
  const before = kept.get(key);
  if (before !== undefined) drop(answers, kept, key, before);
  kept.set(key, { answer, since: now, bytes });
  answers.bytes += bytes;
  for (const [list, most] of lists(answers, lifetime)) dropExpired(answers, list, now - most);
  while (users.size + refusals.size > maxAppAnswers || answers.bytes > maxBytes)
    dropOldest(answers, refusals.size > 0 ? refusals : users);
}

/** Each list with the time for which its answers are valid. */
function lists({ users, refusals }: AppAnswers, lifetime: number) {
  return [[users, lifetime] as const, [refusals, Math.min(lifetime, refusalCacheTime)] as const];
}

/** Drops the answers that name this user. */
export function forgetAnswers(answers: AppAnswers, user: string): void {
  for (const [key, kept] of answers.users) {
    if (kept.answer.kind === 'user' && kept.answer.identity.user === user)
      drop(answers, answers.users, key, kept);
  }
}

export function clearAnswers(answers: AppAnswers): void {
  answers.users.clear();
  answers.refusals.clear();
  answers.bytes = 0;
}

function dropExpired(answers: AppAnswers, list: Map<string, Kept>, before: number): void {
  for (const [key, kept] of list) {
    if (kept.since > before) return;
    drop(answers, list, key, kept);
  }
}

function dropOldest(answers: AppAnswers, list: Map<string, Kept>): void {
  for (const [key, kept] of list) {
    drop(answers, list, key, kept);
    return;
  }
}

function drop(answers: AppAnswers, list: Map<string, Kept>, key: string, { bytes }: Kept): void {
  list.delete(key);
  answers.bytes -= bytes;
}

/** Estimated bytes: a string has at most two for each character. */
function sizeOf(answer: AppAnswer): number {
  if (answer.kind !== 'user') return 0;
  const { user, subscribe, publish } = answer.identity;
  let size = 2 * user.length;
  for (const { source } of [...subscribe, ...publish]) size += patternMemory + bytesPerUnit * source.length;
  return size;
}

/** Bytes of a pattern, and of each of its UTF-16 units, which it has as text and as a number. */
const patternMemory = 256;
const bytesPerUnit = 10;
