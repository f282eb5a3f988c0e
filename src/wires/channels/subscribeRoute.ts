/**
 * The HTTP route of subscribers without WebSocket. The field `Accept` selects an event stream, the page, or a poll:
 *
 *     GET /channels/NAME          Accept: text/event-stream → messages as events, without end (eventStream.ts)
 *     GET /channels/NAME          Accept: text/html         → a page that shows the channel (web/page/channel.html)
 *     GET /channels/NAME?after=ID                           → the messages after ID, as soon as there are any (longPoll.ts)
 */

import { subscribeNeeds } from '../../access/needs.ts';
import { presenceState, viewOf } from '../../handlers/channels/presence.ts';
import type { Channels } from '../../handlers/channels/records.ts';
import { type ChannelRequest, readChannelRequest } from '../../handlers/channels/request.ts';
import { ProtocolError } from '../../protocol/codes.ts';
import { admittedFields } from '../../protocol/http/crossOrigin.ts';
import type { Head } from '../../protocol/http/head.ts';
import { checkOrigin } from '../../protocol/http/origin.ts';
import { maxIgnoredBody } from '../../protocol/limits.ts';
import type { Connection } from '../../records/records.ts';
import { answerPage } from '../../web/pages.ts';
import { beginResponse, endResponse, type Fields, type Route, refusalResponse, respond } from '../route.ts';
import type { Delivery } from './delivery.ts';
import { newEventStreams } from './eventStream.ts';
import { newLongPolls } from './longPoll.ts';

const isOfChannels = (path: string) => path === '/channels' || path.startsWith('/channels/');

/** The route for GET and HEAD. The one of `commands/publishRoute.ts` answers the other methods. */
export function newSubscribeRoute(channels: Channels): Route {
  const { server } = channels;
  const events = newEventStreams(channels);
  const polls = newLongPolls(channels);
  const admitted = new WeakMap<Head, ChannelRequest>();
  /** The requests that wait for messages. */
  const waiting = new WeakMap<Connection, Delivery>();

  function answer(request: Connection, head: Head): void {
    const asked = admitted.get(head);
    const fields = answerFields(channels, head);
    if (asked === undefined) {
      respond(request, answerPage({ ...head, path: '/chat/channel.html' }, server.handlers, false));
      return;
    }
    if (asked.presence === 'only') return answerPresence(request, asked.names[0]!, fields);
    const delivery = wantsEvents(head) ? events : polls;
    if (head.method === 'HEAD') {
      // RFC 9110 §8.6: no Content-Length, because the length of the answer to GET is unknown.
      beginResponse(request, 200, { ...fields, 'Content-Type': delivery.type });
      endResponse(request);
      return;
    }
    waiting.set(request, delivery);
    delivery.start(request, asked, fields);
  }

  function answerPresence(request: Connection, name: string, fields: Fields): void {
    const state = presenceState(channels.byName.get(name), viewOf(channels, request, name, false));
    const headers = { ...fields, 'Content-Type': 'application/json' };
    respond(request, { status: 200, headers, body: `${JSON.stringify(state)}\n` });
  }

  return {
    takes: ({ method, path }) => (method === 'GET' || method === 'HEAD') && isOfChannels(path),

    admit(head) {
      checkOrigin(head, server.configuration.origins);
      const asked = readChannelRequest(channels, head);
      if (wantsPage(head)) return maxIgnoredBody;
      if (asked.names.length === 0)
        throw new ProtocolError(400, 'name a channel: /channels/NAME, or /channels?c=NAME&c=NAME');
      if (asked.awaitsToken)
        throw new ProtocolError(
          400,
          'await=token is for WebSocket; send the token in the field Authorization',
        );
      if (asked.presence === 'watch' && !wantsEvents(head))
        throw new ProtocolError(400, 'presence=1 is for WebSocket and EventSource; poll with presence=only');
      admitted.set(head, asked);
      return maxIgnoredBody;
    },

    needs: head => admitted.get(head)?.names.flatMap(subscribeNeeds) ?? [],

    answer,
    formatRefusal: (error, head) =>
      refusalResponse(error, error.option === 'origin' ? {} : answerFields(channels, head)),

    onEnd(request, error) {
      if (error === undefined) waiting.get(request)?.peerEnded?.(request);
    },

    finished(request) {
      waiting.get(request)?.finished(request);
      waiting.delete(request);
    },

    close(request, reason) {
      const delivery = waiting.get(request);
      if (delivery === undefined) respond(request, refusalResponse(new ProtocolError(503, reason)));
      else delivery.stop(request);
    },

    checkDeadlines(request) {
      waiting.get(request)?.checkDeadlines(request);
    },

    held: request => waiting.get(request)?.held(request) ?? 0,
  };
}

function wantsEvents({ headers }: Head): boolean {
  return /\btext\/event-stream\b/i.test(headers.get('accept') ?? '');
}

function wantsPage(head: Head): boolean {
  return !wantsEvents(head) && /\btext\/html\b/i.test(head.headers.get('accept') ?? '');
}

/** Header fields of every answer. */
function answerFields({ entry, server }: Channels, head: Head): Fields {
  const { Vary, ...others } = admittedFields(head, entry?.isOn(), server.configuration.origins);
  return {
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...others,
    Vary: `${Vary}, Accept`,
  };
}
