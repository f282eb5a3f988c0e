/** The `channels` handler: WebSocket subscribers of channels. */

import { closeConnection } from '../../core/close.ts';
import { scheduleTurn } from '../../core/poll.ts';
import { sendMessage } from '../../core/send.ts';
import { CloseCode } from '../../protocol/codes.ts';
import type { Head } from '../../protocol/http/head.ts';
import { subscriptionMemory } from '../../protocol/limits.ts';
import type { Connection, Handler } from '../../records/records.ts';
import { answerCommand, type DialogueSession } from './dialogue.ts';
import { jsonWebSocket, plainWebSocket } from './encoders.ts';
import { idOf } from './names.ts';
import { commitPublications } from './publish.ts';
import type { Channels, Subscriber } from './records.ts';
import { type ChannelRequest, jsonSubprotocol, readChannelRequest } from './request.ts';
import { endSubscriber, newSubscriber, subscribe } from './subscribers.ts';

/** A handshake that was admitted. */
interface Admitted {
  readonly asked: ChannelRequest;
  readonly publisher: string | undefined;
}

export function newChannelsHandler(channels: Channels): Handler {
  const { server } = channels;
  const handshakes = new WeakMap<Head, Admitted>();

  /** @throws ProtocolError 400, 401 or 429 */
  function admit(connection: Connection, request: Head): Admitted {
    const asked = readChannelRequest(channels, request);
    return { asked, publisher: channels.publisherOf(request, connection) };
  }

  const handler: Handler = {
    name: 'channels',
    subprotocols: [jsonSubprotocol],
    isIdle: true,

    admit(connection, request) {
      handshakes.set(request, admit(connection, request));
    },

    opened(connection, request) {
      const admitted = request && handshakes.get(request);
      const asked = admitted?.asked ?? { names: [], start: {}, isJson: true };
      const subscriber = newSubscriber(channels, connection, asked.isJson ? jsonWebSocket : plainWebSocket);
      const session: DialogueSession = { channels, subscriber, publisher: admitted?.publisher };
      connection.data = session;
      if (asked.isJson) sendJson(connection, { last: idOf(channels, channels.lastSeq) });
      for (const name of asked.names) subscribe(channels, subscriber, name, asked.start);
    },

    message(connection, message) {
      const session = connection.data as DialogueSession;
      if (session.subscriber.encoder === jsonWebSocket) answerCommand(session, message);
      else
        closeConnection(
          connection,
          CloseCode.PolicyViolation,
          'this subscriber only receives; commands need ?format=json',
        );
    },

    closed(connection) {
      endSubscriber(channels, (connection.data as DialogueSession).subscriber);
    },

    held: ({ data }) => subscriberMemory((data as DialogueSession).subscriber),

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

function sendJson(connection: Connection, value: object): void {
  const bytes = Buffer.from(JSON.stringify(value));
  sendMessage(connection, true, bytes, 0, bytes.length);
}

/** Bytes of memory of a subscriber, besides its connection. */
export function subscriberMemory({ subscriptions }: Subscriber): number {
  return (1 + subscriptions.size) * subscriptionMemory;
}
