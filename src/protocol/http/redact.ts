/** Secrets in URLs and messages: tokens, signatures and the ids of polling sessions grant access to all who read them in a log. */

/** What replaces a secret. It is ASCII, so a header field can contain it. */
export const hidden = '***';

/** Parameters whose values are secret, in lower case. */
const secretParameters: ReadonlySet<string> = new Set(['token', 'sign']);

/** A URL or a path, with or without a query, for logs, lists and other programs. */
export function redact(url: string, isSecret = isSecretParameter): string {
  const question = url.indexOf('?');
  if (question === -1) return redactPath(url);
  return `${redactPath(url.slice(0, question))}?${redactQuery(url.slice(question + 1), isSecret)}`;
}

/** A query without its `?`. @param isSecret whether a parameter with this decoded name is secret */
export function redactQuery(query: string, isSecret = isSecretParameter): string {
  if (!query.includes('=')) return query;
  return query
    .split('&')
    .map(pair => {
      const equals = pair.indexOf('=');
      return equals > 0 && isSecret(nameOf(pair.slice(0, equals)))
        ? `${pair.slice(0, equals)}=${hidden}`
        : pair;
    })
    .join('&');
}

function redactPath(path: string): string {
  return path.replace(/(\/poll\/s\/).+/, `$1${hidden}`);
}

/** The name of a parameter, as a server reads it: `%74oken` is read as `token`. */
function nameOf(encoded: string): string {
  const [[decoded = ''] = []] = new URLSearchParams(`${encoded}=`);
  return decoded.trim();
}

function isSecretParameter(name: string): boolean {
  return secretParameters.has(name.toLowerCase());
}

/** The text of a message, or its beginning, for logs: a client may send its token as `{"token":"…"}`. */
export function redactMessage(text: string): string {
  return text.includes('token') ? redactMembers(text, name => name === 'token') : text;
}

/** A member of a JSON object, up to the beginning of its string. In JSON inside a JSON string, the quotes are escaped. */
const member = /(\\?)"([\w .-]{1,64})\1"\s*:\s*\1"/g;

/** Replaces secret strings in a JSON text or its beginning. @param isSecret whether a member of this name is secret */
export function redactMembers(text: string, isSecret: (name: string) => boolean): string {
  let redacted = '';
  let end = 0;
  for (const { index, 0: all, 1: backslash, 2: name } of text.matchAll(member)) {
    if (index < end || !isSecret(name!)) continue;
    const start = index + all.length;
    redacted += text.slice(end, start) + hidden;
    end = endOfString(text, start, backslash !== '');
  }
  return redacted + text.slice(end);
}

/** @param isNested the string is in JSON inside a JSON string, which escapes quotes and backslashes once more */
function endOfString(text: string, start: number, isNested: boolean): number {
  for (let at = start; at < text.length; at++) {
    if (text[at] === '"') return at;
    if (text[at] !== '\\') continue;
    if (!isNested) at++;
    else if (text[at + 1] === '"') return at;
    else if (text[at + 1] === '\\') at += text[at + 2] === '\\' ? 3 : 2;
  }
  return text.length;
}
