/** The `channels` handler: WebSocket subscribers of channels. */

import { scheduleTurn } from '../../core/poll.ts';
import type { Handler } from '../../records/records.ts';
import { commitPublications } from './publish.ts';
import type { Channels } from './records.ts';

export function newChannelsHandler(channels: Channels): Handler {
  const { server } = channels;
  const handler: Handler = {
    name: 'channels',
    isIdle: true,
    message() {},
    turnEnds() {
      handler.isIdle = true;
      commitPublications(channels);
    },
  };
  channels.scheduleCommit = () => {
    handler.isIdle = false;
    scheduleTurn(server);
  };
  return handler;
}
