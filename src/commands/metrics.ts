/**
 * The table of metrics, and their text format. Names follow the conventions of Prometheus (base units, `_total` for counters);
 * a test runs `promtool check metrics`.
 *
 * Clients choose no label values: wires and handlers come from the server and its operator, reasons from the code.
 */

import { performance } from 'node:perf_hooks';
import { descriptorsInUse } from '../core/descriptors.ts';
import { usedMemory } from '../core/memory.ts';
import { addTraffic, type Histogram, type Traffic } from '../diagnostics/metrics.ts';
import { servedNames } from '../handlers/handlers.ts';
import { countPrograms } from '../handlers/programs/programs.ts';
import type { Connection, Server } from '../records/records.ts';
import type { Command, Control } from './command.ts';

/** One value of a metric, with its labels in the order of the text. */
export interface Sample {
  /** Follows the metric's name: `_bucket`, `_sum` and `_count` of a histogram. */
  readonly suffix?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Metric {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** Returns one value, or several with labels; an empty list omits the metric. */
  read(scrape: Scrape): number | readonly Sample[];
}

/** The result of one pass over all connections, for all metrics. */
interface Scrape {
  readonly control: Control;
  readonly server: Server;
  readonly traffic: Traffic;
  /** Open connections by wire, and then by handler. */
  readonly open: ReadonlyMap<string, ReadonlyMap<string, number>>;
  readonly queued: number;
}

const milliseconds = 1000;

export const metrics: readonly Metric[] = [
  {
    name: 'pollywog_build_info',
    type: 'gauge',
    help: 'Versions of the server and of Node.js; always 1.',
    read: ({ control }) => [{ labels: { version: control.version, node: process.version }, value: 1 }],
  },
  {
    name: 'process_start_time_seconds',
    type: 'gauge',
    help: 'Start time of the process since the Unix epoch in seconds.',
    read: ({ control }) => control.startedAt / milliseconds,
  },
  {
    name: 'process_cpu_seconds_total',
    type: 'counter',
    help: 'User and system CPU time of the process in seconds.',
    read() {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    },
  },
  {
    name: 'process_resident_memory_bytes',
    type: 'gauge',
    help: 'Resident memory of the process in bytes.',
    read: () => process.memoryUsage.rss(),
  },
  {
    name: 'pollywog_draining',
    type: 'gauge',
    help: '1 during a graceful shutdown, otherwise 0.',
    read: ({ server }) => Number(server.isDraining),
  },
  {
    name: 'pollywog_connections',
    type: 'gauge',
    help: 'Open connections, by wire and handler.',
    read: ({ open }) =>
      [...open].flatMap(([wire, handlers]) =>
        [...handlers].map(([handler, value]) => ({ labels: { wire, handler }, value })),
      ),
  },
  {
    name: 'pollywog_connections_limit',
    type: 'gauge',
    help: 'Limit on connections (--max-connections).',
    read: ({ server }) => limit(server.configuration.maxConnections),
  },
  {
    name: 'pollywog_connections_accepted_total',
    type: 'counter',
    help: 'Connections accepted.',
    read: ({ server }) => server.counters.accepted,
  },
  {
    name: 'pollywog_refused_total',
    type: 'counter',
    help: 'Connections, handshakes, requests and packets refused, by HTTP status or other reason.',
    read: ({ server }) =>
      byReason(server.metrics.refused, ['draining', 'connect_rate', 'not_admitted', 'tls_handshake']),
  },
  {
    name: 'pollywog_connections_closed_total',
    type: 'counter',
    help: 'Connections closed, by reason; the name of an option is its limit or deadline.',
    read: ({ server }) => byReason(server.metrics.closed, usualCauses),
  },
  {
    name: 'pollywog_slow_consumers_total',
    type: 'counter',
    help: 'Clients closed because they read too slowly (--max-buffered).',
    read: ({ server }) => server.counters.fellBehind,
  },
  {
    name: 'pollywog_evictions_total',
    type: 'counter',
    help: 'Connections closed to free memory (--max-memory).',
    read: ({ server }) => server.counters.evicted,
  },
  {
    name: 'pollywog_messages_received_total',
    type: 'counter',
    help: 'Messages received from clients.',
    read: ({ traffic }) => traffic.messagesIn,
  },
  {
    name: 'pollywog_messages_sent_total',
    type: 'counter',
    help: 'Messages sent to clients.',
    read: ({ traffic }) => traffic.messagesOut,
  },
  {
    name: 'pollywog_received_bytes_total',
    type: 'counter',
    help: 'Bytes received from clients, after TLS.',
    read: ({ traffic }) => traffic.bytesIn,
  },
  {
    name: 'pollywog_sent_bytes_total',
    type: 'counter',
    help: 'Bytes sent to clients, before TLS.',
    read: ({ traffic }) => traffic.bytesOut,
  },
  {
    name: 'pollywog_queued_bytes',
    type: 'gauge',
    help: 'Bytes queued for sending; a broadcast counts for each recipient.',
    read: ({ queued }) => queued,
  },
  {
    name: 'pollywog_turn_duration_seconds',
    type: 'histogram',
    help: 'Duration of the turns of the loop.',
    read: ({ server }) => ofHistogram(server.metrics.turns),
  },
  {
    name: 'pollywog_loop_lag_seconds',
    type: 'histogram',
    help: 'Delay of the timer of the loop; everything else waits as long.',
    read: ({ server }) => ofHistogram(server.metrics.lag),
  },
  {
    name: 'pollywog_loop_active_seconds_total',
    type: 'counter',
    help: 'Time that the loop spent working; its rate is the utilization, from 0 to 1.',
    read: () => performance.eventLoopUtilization().active / milliseconds,
  },
  {
    name: 'pollywog_memory_bytes',
    type: 'gauge',
    help: 'Memory that counts against --max-memory, by what holds it.',
    read: ({ server: { memory, arena } }) => [
      { labels: { holder: 'connections' }, value: memory.connections },
      { labels: { holder: 'output' }, value: arena.held },
      { labels: { holder: 'histories' }, value: memory.histories },
      { labels: { holder: 'programs' }, value: memory.programs },
    ],
  },
  {
    name: 'pollywog_memory_used_ratio',
    type: 'gauge',
    help: 'Used part of --max-memory, from 0 to 1; near 1 the server closes clients.',
    read: ({ server }) => usedMemory(server) / server.configuration.maxMemory,
  },
  {
    name: 'pollywog_memory_limit_bytes',
    type: 'gauge',
    help: 'Limit on the memory of all connections together (--max-memory).',
    read: ({ server }) => limit(server.configuration.maxMemory),
  },
  {
    name: 'pollywog_descriptors',
    type: 'gauge',
    help: 'Open descriptors of connections, listeners and programs.',
    read: ({ server }) => descriptorsInUse(server),
  },
  {
    name: 'pollywog_descriptors_limit',
    type: 'gauge',
    help: 'Limit on open descriptors (ulimit -n).',
    read: ({ server }) => limit(server.descriptors.limit),
  },
  {
    name: 'pollywog_channels',
    type: 'gauge',
    help: 'Channels with subscribers or kept messages.',
    read: ({ control }) => control.channels.byName.size,
  },
  {
    name: 'pollywog_channel_subscriptions',
    type: 'gauge',
    help: 'Subscriptions of channels, by transport; poll counts waiting long polls.',
    read: ({ control }) => subscriptionsOf(control),
  },
  {
    name: 'pollywog_channel_messages_kept',
    type: 'gauge',
    help: 'Messages kept by all channels together.',
    read: ({ control }) => control.channels.kept,
  },
  {
    name: 'pollywog_log_writes_total',
    type: 'counter',
    help: 'Writes to the log of messages (--data).',
    read: ({ control }) => control.channels.log?.work.writes ?? [],
  },
  {
    name: 'pollywog_log_written_bytes_total',
    type: 'counter',
    help: 'Bytes written to the log of messages.',
    read: ({ control }) => control.channels.log?.work.bytes ?? [],
  },
  {
    name: 'pollywog_log_syncs_total',
    type: 'counter',
    help: 'Calls of fdatasync for the log of messages (--fsync).',
    read: ({ control }) => control.channels.log?.work.syncs ?? [],
  },
  {
    name: 'pollywog_log_failures_total',
    type: 'counter',
    help: 'Writes and syncs of the log of messages that failed.',
    read: ({ control }) => control.channels.log?.work.failures ?? [],
  },
  {
    name: 'pollywog_auth_requests_total',
    type: 'counter',
    help: 'Requests to the app of --auth-url.',
    read: ({ server }) => server.counters.appRequests,
  },
  {
    name: 'pollywog_auth_failures_total',
    type: 'counter',
    help: 'Requests to the app of --auth-url that failed.',
    read: ({ server }) => server.counters.appFailures,
  },
  {
    name: 'pollywog_auth_cache_hits_total',
    type: 'counter',
    help: 'Answers of the app of --auth-url that were reused.',
    read: ({ server }) => server.counters.appCacheHits,
  },
  {
    name: 'pollywog_program_processes',
    type: 'gauge',
    help: 'Processes of --exec and --exec-shared.',
    read: ({ server }) => countPrograms(server),
  },
];

/** Common causes start at 0, so a monitor sees the first increase. */
const usualCauses = [
  ...['answered', 'client_closed', 'client_left', 'command', 'internal_error', 'max_buffered', 'max_memory'],
  ...['network_error', 'pong_timeout', 'protocol_error', 'refused', 'server_closed', 'shutdown'],
];

function limit(value: number): number | readonly Sample[] {
  return value === 0 || value === Number.POSITIVE_INFINITY ? [] : value;
}

function byReason(counts: ReadonlyMap<string, number>, usual: readonly string[]): readonly Sample[] {
  const all = new Map([...usual.map(reason => [reason, 0] as const), ...counts]);
  return [...all]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([reason, value]) => ({ labels: { reason }, value }));
}

function ofHistogram({ bounds, counts, times }: Histogram): readonly Sample[] {
  let total = 0;
  const buckets = [...counts].map((count, at) => {
    total += count;
    const le = at < bounds.length ? String(bounds[at]! / milliseconds) : '+Inf';
    return { suffix: '_bucket', labels: { le }, value: total };
  });
  return [
    ...buckets,
    { suffix: '_sum', value: times[0]! / milliseconds },
    { suffix: '_count', value: total },
  ];
}

function subscriptionsOf({ channels }: Control): readonly Sample[] {
  const counts = new Map([
    ['websocket', 0],
    ['eventsource', 0],
    ['poll', 0],
  ]);
  const add = (transport: string, more: number) => counts.set(transport, (counts.get(transport) ?? 0) + more);
  for (const { encoder, subscriptions } of channels.subscribers.values())
    add(encoder.transport, subscriptions.size);
  for (const { waiters } of channels.byName.values()) add('poll', waiters.size);
  return [...counts].map(([transport, value]) => ({ labels: { transport }, value }));
}

function newScrape(control: Control): Scrape {
  const { server } = control;
  const traffic = { ...server.metrics.closedTraffic };
  // Every handler starts at 0, so a monitor sees its first client.
  const idle = servedNames(server).map(name => [name, 0] as const);
  const open = new Map([['websocket', new Map(idle)]]);
  let queued = 0;
  for (const entry of server.table.entries) {
    if (entry?.kind !== 'connection' || entry.isControl) continue;
    addTraffic(traffic, entry);
    countOpen(open, entry);
    queued += entry.queue.size;
  }
  return { control, server, traffic, open, queued };
}

function countOpen(open: Map<string, Map<string, number>>, { wire, handler }: Connection): void {
  const handlers = open.get(wire.name) ?? new Map<string, number>();
  open.set(wire.name, handlers);
  const name = handler?.name ?? '';
  handlers.set(name, (handlers.get(name) ?? 0) + 1);
}

/** The text format: https://prometheus.io/docs/instrumenting/exposition_formats/ */
export function formatMetrics(control: Control): string {
  const scrape = newScrape(control);
  let text = '';
  for (const metric of metrics) {
    const samples = samplesOf(metric, scrape);
    if (samples.length === 0) continue;
    text += `# HELP ${metric.name} ${metric.help}\n# TYPE ${metric.name} ${metric.type}\n`;
    for (const { suffix = '', labels, value } of samples)
      text += `${metric.name}${suffix}${formatLabels(labels)} ${value}\n`;
  }
  return text;
}

function samplesOf(metric: Metric, scrape: Scrape): readonly Sample[] {
  const read = metric.read(scrape);
  return typeof read === 'number' ? [{ value: read }] : read;
}

function formatLabels(labels: Sample['labels']): string {
  if (labels === undefined) return '';
  const quotable = (value: string) =>
    value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
  return `{${Object.entries(labels)
    .map(([name, value]) => `${name}="${quotable(value)}"`)
    .join(',')}}`;
}

export const metricsCommand: Command = {
  name: 'metrics',
  isReadOnly: true,
  parameters: {},
  help: 'print the metrics for Prometheus',
  details:
    'Prints the same text as GET /metrics; with --json, a list with the name, type, help and samples of each metric. See: pollywog help monitoring.',
  run(control, _, reply) {
    if (reply.isJson) {
      const scrape = newScrape(control);
      return metrics.map(metric => {
        const { name, type, help } = metric;
        return { name, type, help, samples: samplesOf(metric, scrape) };
      });
    }
    reply.write(formatMetrics(control));
    reply.end();
    return undefined;
  },
};
