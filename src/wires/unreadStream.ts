/** The deadline of a stream over HTTP, such as an event stream, whose client does not read it. */

import { dropConnection } from '../core/close.ts';
import { hasOutputStalled, startSending } from '../core/progress.ts';
import { noteDeadline } from '../diagnostics/closeReason.ts';
import type { Connection } from '../records/records.ts';

/**
 * Checks a stream, which has called `startSending`. Its client is dropped if it reads nothing for so long that it would
 * also have missed a ping.
 * @returns whether output is stuck, so a heartbeat would not arrive
 */
export function isStreamUnread(request: Connection): boolean {
  if (!request.socket.isBusy) {
    startSending(request);
    return false;
  }
  const { pingInterval, pongTimeout } = request.server.configuration;
  if (pongTimeout > 0 && hasOutputStalled(request, pingInterval + pongTimeout)) {
    noteDeadline(request, 'it did not read the stream', 'pongTimeout');
    dropConnection(request);
  }
  return true;
}
