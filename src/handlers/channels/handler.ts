/** The `channels` handler: WebSocket subscribers of channels. */

import { subscribeNeeds } from '../../access/needs.ts';
import { closeConnection } from '../../core/close.ts';
import { scheduleTurn } from '../../core/poll.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import type { Head } from '../../protocol/http/head.ts';
import type { Connection, Handler } from '../../records/records.ts';
import { answerCommand, type DialogueSession, openSubscriptions } from './dialogue.ts';
import { jsonWebSocket, plainWebSocket } from './encoders.ts';
import { announcePresence } from './presenceNotices.ts';
import { commitPublications } from './publish.ts';
import type { Channels } from './records.ts';
import { type ChannelRequest, jsonSubprotocol, readChannelRequest } from './request.ts';
import { endSubscriber, newSubscriber } from './subscribers.ts';

/** A handshake that was admitted. */
interface Admitted {
  readonly asked: ChannelRequest;
  readonly publisher: DialogueSession['publisher'];
  /** The client must send a token before it is subscribed. */
  isAwaitingToken: boolean;
}

export function newChannelsHandler(channels: Channels): Handler {
  const { server } = channels;
  const handshakes = new WeakMap<Head, Admitted>();

  /** @throws ProtocolError 400, 401 or 429 */
  function admit(connection: Connection, request: Head): Admitted {
    const asked = readChannelRequest(channels, request);
    if (asked.presence === 'only')
      throw new ProtocolError(400, 'presence=only is a GET request; a WebSocket has presence=1');
    const isAwaitingToken = asked.awaitsToken && channels.entry?.takesTokens() === true;
    return { asked, publisher: channels.publisherOf(request, connection), isAwaitingToken };
  }

  const handler: Handler = {
    name: 'channels',
    subprotocols: [jsonSubprotocol],
    isIdle: true,

    admit(connection, request) {
      handshakes.set(request, admit(connection, request));
    },

    needs: request => handshakes.get(request)?.asked.names.flatMap(subscribeNeeds) ?? [],

    awaitsToken(connection, request) {
      const admitted = handshakes.get(request);
      if (admitted?.asked.isJson !== true || channels.entry?.takesTokens() !== true) return false;
      // A token in the URL has been refused.
      if (connection.claim?.isRefused === true) return false;
      admitted.isAwaitingToken = true;
      return true;
    },

    awaited: { what: 'token', code: CloseCode.NotIdentified },

    opened(connection, request) {
      const admitted = request && handshakes.get(request);
      const asked: ChannelRequest = admitted?.asked ?? {
        names: [],
        start: {},
        after: undefined,
        presence: undefined,
        awaitsToken: false,
        isJson: true,
      };
      const subscriber = newSubscriber(channels, connection, asked.isJson ? jsonWebSocket : plainWebSocket);
      const awaited = admitted?.isAwaitingToken === true ? asked : undefined;
      const session: DialogueSession = { channels, subscriber, publisher: admitted?.publisher, awaited };
      connection.data = session;
      if (awaited === undefined) return openSubscriptions(session, asked);
      connection.trustLevel = 2;
      connection.stageSince = server.now;
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

    held: ({ data }) => (data as DialogueSession).subscriber.memory,

    turnEnds() {
      handler.isIdle = true;
      commitPublications(channels);
      announcePresence(channels);
    },
  };
  channels.scheduleCommit = () => {
    handler.isIdle = false;
    scheduleTurn(server);
  };
  return handler;
}
