/** Blocks the event loop for this many milliseconds. */
export function blockLoop(milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() <= end; );
}
