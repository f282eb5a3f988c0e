import type { ChannelJob, Job } from './jobs.ts';

/**
 * What a server does with a message: `echo` returns it, `module` returns it by a handler of the user's, and a broadcast
 * sends it to every connection. A chat is a broadcast with names, rooms and a history, in packets; with `chat-data` also on
 * disk. Servers without a chat broadcast the same bytes. In `channels`, publishers and subscribers use HTTP and WebSocket.
 */
export type Service = 'echo' | 'echo-tls' | 'module' | 'broadcast' | 'chat' | 'chat-data' | 'channels';

export interface Row {
  /** Its name for `--only`. */
  readonly key: string;
  /** The row's first cell. The unit is CPU µs a message, unless the title says otherwise. */
  readonly title: string;
  readonly service: Service;
  /** Whether the row includes the plain TCP server, as the floor. */
  readonly raw: boolean;
  /** The keys of the servers in the row. Default: all. */
  readonly only?: readonly string[];
  readonly job: Job;
}

const KiB = 1024;

export const rows: readonly Row[] = [
  {
    key: 'echo',
    title: 'echo 32 B, 64 connections, 1 in flight',
    service: 'echo',
    raw: true,
    job: { kind: 'echo', connections: 64, size: 32, inFlight: 1 },
  },
  {
    key: 'echo-16',
    title: 'the same, 16 in flight',
    service: 'echo',
    raw: true,
    job: { kind: 'echo', connections: 64, size: 32, inFlight: 16 },
  },
  {
    key: 'module',
    title: 'echo 32 B by a module of one’s own, 64 connections, 1 in flight',
    service: 'module',
    raw: false,
    job: { kind: 'echo', connections: 64, size: 32, inFlight: 1 },
  },
  {
    key: 'module-16',
    title: 'the same, 16 in flight',
    service: 'module',
    raw: false,
    job: { kind: 'echo', connections: 64, size: 32, inFlight: 16 },
  },
  {
    key: 'echo-1k',
    title: 'echo 1 KiB, 64 connections, 16 in flight',
    service: 'echo',
    raw: true,
    job: { kind: 'echo', connections: 64, size: KiB, inFlight: 16 },
  },
  {
    key: 'echo-64k',
    title: 'echo 64 KiB, 16 connections, 1 in flight',
    service: 'echo',
    raw: true,
    job: { kind: 'echo', connections: 16, size: 64 * KiB, inFlight: 1 },
  },
  {
    key: 'echo-tls',
    title: 'echo 32 B over TLS, 64 connections, 1 in flight',
    service: 'echo-tls',
    raw: false,
    // uWebSockets.js has its own TLS; this row compares servers on Node's.
    only: ['ws', 'pollywog'],
    job: { kind: 'echo', connections: 64, size: 32, inFlight: 1 },
  },
  {
    key: 'broadcast',
    title: 'broadcast 64 B to 1,000, one message at a time, each delivery',
    service: 'broadcast',
    raw: false,
    job: { kind: 'broadcast', connections: 1000, size: 64, inFlight: 1 },
  },
  {
    key: 'broadcast-16',
    title: 'the same, 16 messages in one write',
    service: 'broadcast',
    raw: false,
    job: { kind: 'broadcast', connections: 1000, size: 64, inFlight: 16 },
  },
  ...[10, 100, 1000].flatMap(members => [chatRow(members, 'chat'), chatRow(members, 'chat-data')]),
  {
    key: 'handshake',
    title: 'handshake: connect, upgrade, reset; 32 at a time',
    service: 'echo',
    raw: false,
    job: { kind: 'handshake', parallel: 32 },
  },
  {
    key: 'idle',
    title: 'memory of an idle connection, KiB (5,000 of them)',
    service: 'echo',
    raw: true,
    job: { kind: 'idle', warmUp: 1000, connections: 5000 },
  },
  channelRow('websocket', 'cpu'),
  channelRow('eventsource', 'cpu'),
  channelRow('websocket', 'p99'),
  channelRow('eventsource', 'p99'),
  channelRow('websocket', 'memory'),
  channelRow('eventsource', 'memory'),
];

/** 16 messages in one write, as in a lively room. The figure is the cost of a delivery. */
function chatRow(members: number, service: 'chat' | 'chat-data'): Row {
  const disk = service === 'chat-data' ? '-data' : '';
  return {
    key: `chat-${members}${disk}`,
    title: `chat room of ${members}, 64 B, 16 messages in one write, each delivery${disk && ', written to disk'}`,
    service,
    raw: false,
    job: { kind: 'chat', members, size: 64, inFlight: 16 },
  };
}

/** Each message goes to 1,000 subscribers, and the next one is published when all have it. */
function channelRow(transport: ChannelJob['transport'], figure: ChannelJob['figure']): Row {
  const name = transport === 'websocket' ? 'WebSocket' : 'EventSource';
  const titles = {
    cpu: `channel, 64 B to 1,000 subscribers by ${name}, each delivery`,
    p99: `the same by ${name}, from publish to last delivery, 99th percentile, ms`,
    memory: `memory of a subscriber by ${name}, KiB (the first 1,000)`,
  };
  return {
    key: `channel-${transport}${figure === 'cpu' ? '' : `-${figure}`}`,
    title: titles[figure],
    service: 'channels',
    raw: false,
    job: { kind: 'channel', transport, subscribers: 1000, size: 64, figure },
  };
}
