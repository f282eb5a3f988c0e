/** What a tab remembers across reloads. A browser may refuse to keep anything: then nothing is remembered. */

export function remember(name: string, value: unknown): void {
  try {
    if (value === undefined) sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, JSON.stringify(value));
  } catch {}
}

/** @returns what `remember` was given under this name */
export function remembered<Value>(name: string): Value | undefined {
  try {
    const kept = sessionStorage.getItem(name);
    return kept === null ? undefined : (JSON.parse(kept) as Value);
  } catch {
    return undefined;
  }
}
