/**
 * Counters and histograms for monitoring. The traffic of a connection is added to the total when it closes; `metrics` adds
 * that of open connections (commands/metrics.ts), so a message costs no more than its connection's own counters.
 */

/** The counters that only `metrics` shows; records/resources.ts has the others. */
export interface Metrics {
  /** Refused connections, handshakes and requests, by reason. */
  readonly refused: Map<string, number>;
  /** Closed connections, by `EndCause`. */
  readonly closed: Map<string, number>;
  /** The traffic of closed connections. */
  readonly closedTraffic: Traffic;
  /** How long turns took. */
  readonly turns: Histogram;
  /** How late the deadline timer was: the loop was busy, or the process was not running. */
  readonly lag: Histogram;
}

/** In: received by the server; out: sent. */
export interface Traffic {
  bytesIn: number;
  bytesOut: number;
  messagesIn: number;
  messagesOut: number;
}

/** Durations in milliseconds. */
export interface Histogram {
  /** Upper bounds of the buckets, ascending. */
  readonly bounds: readonly number[];
  /** Durations in each bucket, not cumulative. The last bucket has no bound. */
  readonly counts: Float64Array;
  /** The sum of all durations, and the time when the current one began. A typed array: a write allocates nothing. */
  readonly times: Float64Array;
}

const turnBounds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 1000];
const lagBounds = [1, 5, 10, 25, 50, 100, 250, 1000, 5000];

export function newMetrics(): Metrics {
  return {
    refused: new Map(),
    closed: new Map(),
    closedTraffic: { bytesIn: 0, bytesOut: 0, messagesIn: 0, messagesOut: 0 },
    turns: newHistogram(turnBounds),
    lag: newHistogram(lagBounds),
  };
}

function newHistogram(bounds: readonly number[]): Histogram {
  return { bounds, counts: new Float64Array(bounds.length + 1), times: new Float64Array(2) };
}

/** @param now milliseconds, of the same clock as for `endMeasuring` */
export function startMeasuring({ times }: Histogram, now: number): void {
  times[1] = now;
}

/** @returns the time when the current duration began */
export function beginningOf({ times }: Histogram): number {
  return times[1]!;
}

export function endMeasuring(histogram: Histogram, now: number): void {
  observe(histogram, now - histogram.times[1]!);
}

/** @param duration milliseconds */
export function observe({ bounds, counts, times }: Histogram, duration: number): void {
  let bucket = 0;
  // Nearly every turn is in the first bucket.
  while (bucket < bounds.length && duration > bounds[bucket]!) bucket++;
  counts[bucket]!++;
  times[0]! += duration;
}

/** @param reason one of few that the server chooses, never a client's text: each takes memory for ever */
export function countReason(counts: Map<string, number>, reason: string): void {
  counts.set(reason, (counts.get(reason) ?? 0) + 1);
}

/** Counts a refusal. @param reason such as `status_404` or `tls_handshake` */
export function countRefused(
  { counters, metrics }: { readonly counters: { refused: number }; readonly metrics: Metrics },
  reason: string,
): void {
  counters.refused++;
  countReason(metrics.refused, reason);
}

/** Adds a connection's traffic. The bytes of a polling session are counted with its HTTP requests. */
export function addTraffic(
  sum: Traffic,
  connection: Traffic & { readonly socket: { readonly isVirtual?: true } },
): void {
  sum.messagesIn += connection.messagesIn;
  sum.messagesOut += connection.messagesOut;
  if (connection.socket.isVirtual) return;
  sum.bytesIn += connection.bytesIn;
  sum.bytesOut += connection.bytesOut;
}
