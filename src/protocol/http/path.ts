/** Percent-encoding (RFC 3986 §2.1), in paths and in names that are a part of one. */

/** Decodes once. @returns undefined if the encoding or its UTF-8 is not valid */
export function percentDecode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
