/**
 * What a version does while it is on probation takes effect when its call has returned: of a call that throws, nothing was
 * sent. The version before is given the same message then, and nobody hears anything twice.
 */

let kept: (() => void)[] | undefined;

/** Whether effects are kept back at present. */
export function isTrial(): boolean {
  return kept !== undefined;
}

/** For when the call has returned. Whatever can fail has to have been checked. */
export function keepBack(effect: () => void): void {
  kept?.push(effect);
}

/** Calls, and then lets all effects happen, or, within another such call, with its own; or throws what it throws, and there are none. */
export function withoutEffects<T>(act: () => T): T {
  const outer = kept;
  const effects: (() => void)[] = [];
  kept = effects;
  let result: T;
  try {
    result = act();
  } finally {
    kept = outer;
  }
  if (outer !== undefined) outer.push(...effects);
  else for (const effect of effects) effect();
  return result;
}
