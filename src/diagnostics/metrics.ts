/**
 * What the server counts for its monitor. Counters that a message passes are plain numbers; what one connection has sent and
 * received is added up when it closes, and for open connections when somebody asks (commands/metrics.ts).
 */

/** Counters besides those of records/resources.ts: only `metrics` shows them. */
export interface Metrics {
  /** Refused connections, handshakes and requests, by a reason that the server chose. */
  readonly refused: Map<string, number>;
  /** Closed connections, by `EndCause`. */
  readonly closed: Map<string, number>;
  /** What closed connections had sent and received. */
  readonly closedTraffic: Traffic;
  /** How long turns took. */
  readonly turns: Histogram;
  /** How late the deadline timer was: the loop was busy, or the process was not running. */
  readonly lag: Histogram;
}

/** As the server sees it: received is in, sent is out. */
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
  /** How many durations are in each bucket, and in a last one without a bound. Not cumulative. */
  readonly counts: Float64Array;
  /** The sum of all durations, and when the one that is being measured began. Typed, so that no write allocates. */
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

/** @param now in milliseconds, of any clock that `endMeasuring` also uses */
export function startMeasuring({ times }: Histogram, now: number): void {
  times[1] = now;
}

/** When the duration that is being measured began. */
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

/** @param reason one of a small set that the server chooses, never a client */
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

/** Adds what a connection has sent and received. A polling session's bytes are those of its HTTP requests. */
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
