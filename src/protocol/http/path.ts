/** Paths of URLs. */

/** The path with its percent-encoding decoded once; undefined if that is not valid UTF-8. */
export function decodePath(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}
