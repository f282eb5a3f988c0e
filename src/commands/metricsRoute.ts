/** `GET /metrics`, with a token on the public listeners, without one on those of `--metrics-listen`. */

import { isMetricsToken, isReadToken, type Tokens } from '../access/tokens.ts';
import { ProtocolError } from '../protocol/codes.ts';
import type { Head, HttpResponse } from '../protocol/http/head.ts';
import { maxIgnoredBody } from '../protocol/limits.ts';
import { withToken } from '../wires/bearer.ts';
import { type Route, respond } from '../wires/route.ts';
import type { Control } from './command.ts';
import { formatMetrics } from './metrics.ts';

const path = '/metrics';

/** For the public listeners. Without `--metrics-token` and `--read-token` the path does not exist. */
export function newMetricsRoute(control: Control, tokens: Tokens): Route {
  const inner = newScrapeRoute(control);
  const rule = {
    tokens,
    isGranted: (token: string) => isMetricsToken(tokens, token) || isReadToken(tokens, token),
    remedy: 'use the one in the file that --metrics-token or --read-token names',
  };
  return {
    ...withToken(control.server, rule, inner),
    takes: head => (tokens.metrics ?? tokens.read) !== undefined && inner.takes(head),
  };
}

/** For `--metrics-listen`, whose address is the authentication. It is the only route there. */
export function newLoneMetricsRoute(control: Control): Route {
  return {
    ...newScrapeRoute(control),
    takes: () => true,
    admit(head) {
      if (head.path !== path)
        throw new ProtocolError(404, `this listener serves only ${path} (--metrics-listen)`);
      return checkMethod(head);
    },
  };
}

function newScrapeRoute(control: Control): Route {
  return {
    takes: head => head.path === path,
    admit: checkMethod,
    answer: connection => respond(connection, scrape(control)),
  };
}

function checkMethod({ method }: Head): number {
  if (method !== 'GET' && method !== 'HEAD')
    throw new ProtocolError(405, `${path} supports only GET and HEAD`, { Allow: 'GET, HEAD' });
  return maxIgnoredBody;
}

function scrape(control: Control): HttpResponse {
  const headers = {
    'Content-Type': 'text/plain; version=0.0.4; charset=utf-8',
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
  };
  return { status: 200, headers, body: formatMetrics(control) };
}
