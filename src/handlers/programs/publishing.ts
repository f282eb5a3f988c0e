/** Publishes the records `{"publish":…}` that programs write. */

import type { LogFields } from '../../log/log.ts';
import type { Server } from '../../records/records.ts';
import { publish } from '../channels/publish.ts';
import type { Channels, Publication } from '../channels/records.ts';
import { type LineBudget, logLimited } from './programLog.ts';

/** A program as a publisher. All its processes share their idempotency keys. */
export interface PublishingProgram {
  readonly name: string;
  /** They identify the process in the log. */
  readonly fields: LogFields;
  readonly budget: LineBudget;
}

/** Publishes when the turn ends. The program gets no answer; a refusal is logged with its reason. */
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
