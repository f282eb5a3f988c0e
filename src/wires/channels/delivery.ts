/** What the two ways to receive messages over HTTP have in common. */

import type { ChannelRequest } from '../../handlers/channels/request.ts';
import type { Connection } from '../../records/records.ts';
import type { Fields } from '../route.ts';

/** One way to answer a request that waits for messages. */
export interface Delivery {
  /** The field `Content-Type` of its answers. */
  readonly type: string;
  start(request: Connection, asked: ChannelRequest, fields: Fields): void;
  /** The peer has ended its direction. Without this, it still awaits the answer. */
  peerEnded?(request: Connection): void;
  /** Answers the request, or ends its answer: the client comes again. */
  stop(request: Connection): void;
  /** The request is over. */
  finished(request: Connection): void;
  checkDeadlines(request: Connection): void;
  /** Bytes of memory that it holds for the request. */
  held(request: Connection): number;
}
