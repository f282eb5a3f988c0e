/** Paths of URLs, and percent-encoding in them and in names that are a part of one (RFC 3986 §2.1). */

/** The first segment, as it is encoded; empty if the path does not begin with a slash. */
export function firstSegment(path: string): string {
  if (!path.startsWith('/')) return '';
  const end = path.indexOf('/', 1);
  return end === -1 ? path.slice(1) : path.slice(1, end);
}

/** Decodes once. @returns undefined if the encoding or its UTF-8 is not valid */
export function percentDecode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
