/** The server's clock: milliseconds from 1 on, so that 0 can mean never. It never goes back. */

/** As whole ones, which is what `server.now` has. */
export function clock(): number {
  return Math.floor(exactClock());
}

export function exactClock(): number {
  return performance.now() + 1;
}
