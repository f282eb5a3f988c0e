/** What programs publish in channels: their records `{"publish":…}`. */

import type { LogFields } from '../../log/log.ts';
import type { Server } from '../../records/records.ts';
import { publish } from '../channels/publish.ts';
import type { Channels, Publication } from '../channels/records.ts';
import { type LineBudget, logLimited } from './programLog.ts';

/** Who publishes: a program, whose processes share their idempotency keys. */
export interface PublishingProgram {
  readonly name: string;
  /** Identify the process in the log. */
  readonly fields: LogFields;
  readonly budget: LineBudget;
}

/** Publishes when the turn ends. A program gets no answer: the log says what was not published, and why. */
export function publishForProgram(
  channels: Channels,
  { name, fields, budget }: PublishingProgram,
  publication: Publication,
): void {
  const { channel, data } = publication;
  const refuse = (why: string) => logLimited(budget, 'publication refused', { ...fields, channel, why });
  const why = sizeFault(channels.server, data.length);
  if (why !== undefined) return refuse(why);
  publish(channels, { ...publication, publisher: `program ${name}` }, outcome => {
    if (typeof outcome === 'string') refuse(outcome);
  });
}

function sizeFault({ configuration: { maxMessage } }: Server, size: number): string | undefined {
  return size <= maxMessage
    ? undefined
    : `the message has ${size} bytes, and --max-message allows ${maxMessage}`;
}
