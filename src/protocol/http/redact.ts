/** Secrets in URLs and messages: tokens, signatures and the ids of polling sessions grant access to all who read them in a log. */

/** What replaces a secret. It is ASCII, so a header field can contain it. */
export const hidden = '***';

/** Parameters whose values are secret, in lower case. */
const secretParameters: ReadonlySet<string> = new Set(['token', 'sign']);

/** A URL or a path, with or without a query, for logs, lists and other programs. */
export function redact(url: string): string {
  const question = url.indexOf('?');
  if (question === -1) return redactPath(url);
  return `${redactPath(url.slice(0, question))}?${redactQuery(url.slice(question + 1))}`;
}

/** A query without its `?`. */
export function redactQuery(query: string): string {
  if (!query.includes('=')) return query;
  return query
    .split('&')
    .map(pair => {
      const equals = pair.indexOf('=');
      return equals > 0 && isSecret(pair.slice(0, equals)) ? `${pair.slice(0, equals)}=${hidden}` : pair;
    })
    .join('&');
}

function redactPath(path: string): string {
  return path.replace(/(\/poll\/s\/).+/, `$1${hidden}`);
}

/** @param name as in the URL: `%74oken` is read as `token`, too */
function isSecret(name: string): boolean {
  const [[decoded = ''] = []] = new URLSearchParams(`${name}=`);
  return secretParameters.has(decoded.trim().toLowerCase());
}

/**
 * The text of a message, or its beginning, for logs: a client may send its token as `{"token":"…"}`. Inside another JSON text
 * the quotes are escaped.
 */
export function redactMessage(text: string): string {
  if (!text.includes('token')) return text;
  return text.replace(/(\\?"token\\?"\s*:\s*\\?")[^"\\]*/g, `$1${hidden}`);
}
