/**
 * The queue of questions to the app. Addresses take turns, so a busy one does not delay the others. The number and memory of
 * questions are bounded, for each address and in total.
 */

import { maxAppQuestions } from '../protocol/accessLimits.ts';

export interface Queued {
  /** Of the client that asked first, as `addressKey` makes it. */
  readonly addressKey: string;
  readonly bytes: number;
}

export interface AppQueue<Question extends Queued> {
  /** In the order of their turns. No entry is empty. */
  readonly byAddress: Map<string, AddressQueue<Question>>;
  count: number;
  bytes: number;
}

interface AddressQueue<Question> {
  readonly questions: Set<Question>;
  bytes: number;
}

export function newAppQueue<Question extends Queued>(): AppQueue<Question> {
  return { byAddress: new Map(), count: 0, bytes: 0 };
}

/** Whether the queue has room for the question. One address may fill a quarter of it. */
export function hasRoomFor(
  queue: AppQueue<Queued>,
  { addressKey, bytes }: Queued,
  maxBytes: number,
): boolean {
  const own = queue.byAddress.get(addressKey);
  if (queue.count >= maxAppQuestions || queue.bytes + bytes > maxBytes) return false;
  if (own === undefined) return true;
  return own.questions.size < maxAppQuestions / 4 && own.bytes + bytes <= maxBytes / 4;
}

export function enqueue<Question extends Queued>(queue: AppQueue<Question>, question: Question): void {
  const { addressKey, bytes } = question;
  let own = queue.byAddress.get(addressKey);
  if (own === undefined) {
    own = { questions: new Set(), bytes: 0 };
    queue.byAddress.set(addressKey, own);
  }
  own.questions.add(question);
  own.bytes += bytes;
  queue.count++;
  queue.bytes += bytes;
}

/** Takes the oldest question of the next address. */
export function dequeue<Question extends Queued>(queue: AppQueue<Question>): Question | undefined {
  for (const [address, own] of queue.byAddress) {
    for (const question of own.questions) {
      removeQueued(queue, question);
      // The address moves behind all others.
      if (own.questions.size > 0) {
        queue.byAddress.delete(address);
        queue.byAddress.set(address, own);
      }
      return question;
    }
  }
  return undefined;
}

export function removeQueued<Question extends Queued>(queue: AppQueue<Question>, question: Question): void {
  const { addressKey, bytes } = question;
  const own = queue.byAddress.get(addressKey);
  if (own === undefined || !own.questions.delete(question)) return;
  own.bytes -= bytes;
  queue.count--;
  queue.bytes -= bytes;
  if (own.questions.size === 0) queue.byAddress.delete(addressKey);
}
