/** Token buckets: a bucket gains `perSecond` tokens a second, up to `burst`, and each event takes one. */
import type { Rate } from '../options/values.ts';
import type { Bucket } from '../records/resources.ts';

/** @returns a full bucket @param now as in `server.now` */
export function newBucket({ burst }: Rate, now: number): Bucket {
  return { tokens: burst, at: now, pause: undefined };
}

/** Adds the tokens for the time since the last call. @param now as in `server.now` */
export function refill(bucket: Bucket, { perSecond, burst }: Rate, now: number): void {
  bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.at) / 1000) * perSecond);
  bucket.at = now;
}

/** Takes a token. @returns false if the bucket had none @param now as in `server.now` */
export function takeToken(bucket: Bucket, rate: Rate, now: number): boolean {
  refill(bucket, rate, now);
  if (bucket.tokens < 1) return false;
  bucket.tokens--;
  return true;
}

/** Finds or makes the record of an address or a user. Beyond `most` records, the least recently used one is forgotten. */
export function touchRecord<Kept>(
  records: Map<string, Kept>,
  key: string,
  most: number,
  make: () => Kept,
): Kept {
  const found = records.get(key) ?? make();
  records.delete(key);
  records.set(key, found);
  for (const oldest of records.keys()) {
    if (records.size <= most) break;
    records.delete(oldest);
  }
  return found;
}
