/** Subscribers over HTTP that read a stream of server-sent events, as EventSource does. */

import { becomeClientOrThrow } from '../../core/admission.ts';
import { establish } from '../../core/places.ts';
import { startSending } from '../../core/progress.ts';
import { sendBytes } from '../../core/send.ts';
import { noteEnding } from '../../diagnostics/closeReason.ts';
import { eventStreamStart, jsonEventSource, plainEventSource } from '../../handlers/channels/encoders.ts';
import { idOf } from '../../handlers/channels/names.ts';
import type { Channels, Subscriber } from '../../handlers/channels/records.ts';
import type { ChannelRequest } from '../../handlers/channels/request.ts';
import { endSubscriber, newSubscriber, subscribe } from '../../handlers/channels/subscribers.ts';
import type { Connection } from '../../records/records.ts';
import { beginResponse, endResponse, type Fields } from '../route.ts';
import { isStreamUnread } from '../unreadStream.ts';
import type { Delivery } from './delivery.ts';

interface EventStreamState {
  readonly subscriber: Subscriber;
  /** The bytes written at the last check of deadlines, and when that number was first seen. */
  bytesOut: number;
  wroteAt: number;
}

/** A comment, which clients ignore. */
const comment = Buffer.from(':\n\n');

export function newEventStreams(channels: Channels): Delivery {
  const { server } = channels;
  const streams = new Map<Connection, EventStreamState>();
  const type = 'text/event-stream';

  function start(request: Connection, asked: ChannelRequest, fields: Fields): void {
    becomeClientOrThrow(request);
    establish(request);
    const subscriber = newSubscriber(channels, request, asked.isJson ? jsonEventSource : plainEventSource);
    streams.set(request, { subscriber, bytesOut: 0, wroteAt: server.now });
    for (const name of asked.names)
      subscribe(channels, subscriber, name, asked.start, asked.presence === 'watch');
    // `X-Accel-Buffering` disables nginx's buffering of the response.
    beginResponse(request, 200, { ...fields, 'Content-Type': type, 'X-Accel-Buffering': 'no' });
    sendBytes(request, eventStreamStart(asked.after ?? startId(subscriber)));
    startSending(request);
    request.socket.keepAlive(server.configuration.pingInterval);
    // EventSource gives up after any status but 200, so it gets a stream that ends, and comes again.
    if (server.isDraining) endResponse(request);
  }

  /**
   * The position of a subscriber that has received nothing. A browser that is cut off before the first message resumes there,
   * so it is that of the oldest start.
   */
  function startId({ subscriptions }: Subscriber): string {
    let seq = channels.lastSeq;
    for (const { cursor } of subscriptions.values()) seq = Math.min(seq, cursor);
    return idOf(channels, seq);
  }

  return {
    type,
    start,
    stop: endResponse,

    peerEnded(request) {
      noteEnding(request, 'client', 'the client closed its event stream', { isRoutine: true });
      endResponse(request);
    },

    finished(request) {
      const stream = streams.get(request);
      streams.delete(request);
      if (stream !== undefined) endSubscriber(channels, stream.subscriber);
    },

    checkDeadlines(request) {
      const stream = streams.get(request);
      if (stream === undefined) return;
      if (isStreamUnread(request)) return;
      const { pingInterval } = server.configuration;
      if (request.bytesOut !== stream.bytesOut || request.queue.size > 0) {
        stream.bytesOut = request.bytesOut;
        stream.wroteAt = server.now;
      } else if (pingInterval > 0 && server.now - stream.wroteAt >= pingInterval) {
        sendBytes(request, comment);
        stream.wroteAt = server.now;
      }
    },

    held: request => streams.get(request)?.subscriber.memory ?? 0,
  };
}
