/** Which web pages may connect, by the Origin field of browsers (RFC 6454 §7, RFC 6455 §10.2). */
import { ProtocolError } from '../codes.ts';
import type { Head } from './head.ts';

/** An origin as browsers serialize it (RFC 6454 §6.2): scheme, host, and a port unless it is the scheme's default. */
const serialized = /^([a-z][a-z\d+.-]*):\/\/(\[[\da-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?$/;

const defaultPorts: Readonly<Record<string, string>> = { http: '80', https: '443' };

/** No page has these schemes: they are a mistake for `http` or `https`. */
const nonPageSchemes = new Set(['ws', 'wss', 'ftp', 'tcp', 'unix']);

/**
 * Normalises an origin as browsers do: lower case, no default port, no final slash. Apps and extensions have their own
 * schemes (`capacitor://localhost`); sandboxed frames have the origin `null`, and local files in some web views `file://`.
 * @returns undefined if `text` is not an origin
 */
export function parseOrigin(text: string): string | undefined {
  const lower = text.toLowerCase();
  if (lower === 'null' || lower === 'file://') return lower;
  if (/^https?:/.test(lower)) {
    if (!/^https?:\/\/[^/?#@*\s\\]+\/?$/.test(lower) || !URL.canParse(text)) return undefined;
    return new URL(text).origin;
  }
  const origin = lower.replace(/\/$/, '');
  const [, scheme = '', , port = '0'] = serialized.exec(origin) ?? [];
  return scheme === '' || nonPageSchemes.has(scheme) || Number(port) > 65_535 ? undefined : origin;
}

/**
 * A rule for `checkOrigin`: an origin; `same`; or a wildcard for the hosts below a domain, with or without a scheme and a
 * port (`*.example.com`, `https://*.example.com:8443`).
 * @returns undefined if `text` is none of these
 */
export function parseOriginRule(text: string): string | undefined {
  if (text.toLowerCase() === 'same') return 'same';
  const [, scheme, domain, port] =
    /^(?:(https?):\/\/)?\*\.([^/?#@*:\s\\]+)(?::(\d{1,5}))?\/?$/i.exec(text) ?? [];
  if (domain === undefined) return parseOrigin(text);
  const sample = `http://a.${domain}:${port ?? 80}`;
  if (!URL.canParse(sample)) return undefined;
  // The URL parser converts international names to ASCII, as browsers do.
  const host = new URL(sample).hostname.slice('a.'.length);
  if (!/^[\w-]+(\.[\w-]+)*$/.test(host)) return undefined;
  const isDefault = port === undefined || port === defaultPorts[scheme?.toLowerCase() ?? ''];
  return `${scheme === undefined ? '' : `${scheme.toLowerCase()}://`}*.${host}${isDefault ? '' : `:${Number(port)}`}`;
}

/**
 * Rejects pages of other sites with 403. A request without Origin passes: it does not come from a browser (RFC 6455 §4.2.1,
 * 7), and programs can send any Origin (§10.1), so requiring one would only keep out honest scripts.
 * @param rules from `parseOriginRule`; empty: every page may connect
 * @throws ProtocolError 403
 */
export function checkOrigin(head: Head, rules: readonly string[]): void {
  // RFC 6455 §4.2.2, §10.2 [4.2.2-4, 4.2.2-5, 10.2-2]: an unacceptable origin gets a 403.
  if (rules.length > 0 && !isOriginAdmitted(head, rules))
    throw new ProtocolError(403, 'pages of this origin may not connect', {}, 'origin');
}

/** Whether one of the rules admits the origin of the request. A request without Origin is admitted. */
export function isOriginAdmitted(head: Head, rules: readonly string[]): boolean {
  const origin = head.headers.get('origin');
  // RFC 6455 §4.2.1 [4.2.1-2]: a request without Origin does not come from a browser.
  if (origin === undefined) return true;
  // RFC 6455 §4.2.2, 4: the comparison ignores case.
  const lower = origin.toLowerCase();
  const [, scheme = '', host = '', explicitPort] = serialized.exec(lower) ?? [];
  const port = explicitPort ?? defaultPorts[scheme];
  const plain = port !== undefined && port === defaultPorts[scheme] ? `${scheme}://${host}` : lower;
  return rules.some(
    rule =>
      plain === rule ||
      (rule === 'same' ? isSameHost(head, scheme, host, port) : fitsWildcard(rule, scheme, host, port)),
  );
}

/**
 * Whether the page comes from the requested host. Schemes are not compared, because a proxy may have terminated TLS. The
 * X-Forwarded-Host of a trusted proxy takes precedence over Host, which some proxies rewrite.
 */
function isSameHost(head: Head, scheme: string, host: string, port: string | undefined): boolean {
  if (defaultPorts[scheme] === undefined) return false;
  const asked = (head.forwardedHost ?? head.headers.get('host') ?? '').toLowerCase();
  const [, name, itsPort = defaultPorts[scheme]] = /^(.*?)(?::(\d*))?$/.exec(asked) ?? [];
  return name === host && (itsPort || defaultPorts[scheme]) === port;
}

/** Compares whole labels: `*.example.com` must not match evilexample.com. Without a port: the scheme's default. */
function fitsWildcard(rule: string, scheme: string, host: string, port: string | undefined): boolean {
  const [, ruleScheme, domain, rulePort] = /^(?:(https?):\/\/)?\*(\.[\w.-]+)(?::(\d+))?$/.exec(rule) ?? [];
  if (domain === undefined || defaultPorts[scheme] === undefined) return false;
  if (ruleScheme !== undefined && ruleScheme !== scheme) return false;
  if ((rulePort ?? defaultPorts[scheme]) !== port || !host.endsWith(domain)) return false;
  return /^[\w-]+(\.[\w-]+)*$/.test(host.slice(0, -domain.length));
}
