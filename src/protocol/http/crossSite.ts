/** Cross-site requests: pages of other sites make browsers send the cookies of this one (CSRF, cross-site WebSocket hijacking). */
import { ProtocolError } from '../codes.ts';
import type { Head } from './head.ts';
import { isOriginAdmitted } from './origin.ts';

/** Whether the head has credentials that browsers add to the requests of any page: cookies, or a remembered password. */
export function sendsAmbientCredentials({ headers }: Head): boolean {
  const authorization = headers.get('authorization');
  return headers.has('cookie') || (authorization !== undefined && !/^bearer /i.test(authorization));
}

/**
 * Checks that such credentials count: only in requests of pages that `rules` admit or, without rules, of the requested host.
 * Browsers omit Origin in a same-origin GET, and Sec-Fetch-Site names the relation; programs send neither.
 * @param rules from `parseOriginRule`
 * @returns why they do not count
 */
export function checkCrossSite(head: Head, rules: readonly string[]): ProtocolError | undefined {
  const { headers } = head;
  if (headers.has('origin')) {
    if (isOriginAdmitted(head, rules.length === 0 ? ['same'] : rules)) return undefined;
  } else {
    const site = headers.get('sec-fetch-site');
    if (site === undefined || site === 'same-origin' || site === 'none') return undefined;
  }
  return new ProtocolError(403, 'pages of other sites may not use your cookies here', {}, 'origin');
}
