/** What the head of a request says about who its client is. */
import type { Head } from '../protocol/http/head.ts';
import type { Access, Credentials } from './records.ts';

const anonymous: Credentials = { byCookie: false };

/** @param now milliseconds since 1970 */
export function readCredentials(_access: Access, _head: Head, _now: number): Credentials {
  return anonymous;
}
