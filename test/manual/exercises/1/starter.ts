/**
 * Exercise 1: the lowest free number.
 *
 * This table works, but it never gives a number twice, so it grows for as long as the server runs. Change it so that a new
 * connection gets the lowest free number, as POSIX promises for descriptors:
 *
 * 1. `nextId` and `addEntry` choose the lowest number without an entry.
 * 2. A number that is released during a turn is free only when `freeClosedIds` has run, at the end of the turn.
 *
 * A search through all entries will do.
 *
 * The server uses these functions: `make exercise 1` also starts a server with your table.
 */

export interface Table<Entry> {
  /** Indexed by number. */
  readonly entries: (Entry | undefined)[];
  /** The number of occupied entries. */
  size: number;
  /** Released in this turn, free from the next. */
  readonly releasedIds: number[];
}

export function newTable<Entry>(): Table<Entry> {
  return { entries: [], size: 0, releasedIds: [] };
}

/** The number that the next `addEntry` gives. It changes nothing. */
export function nextId<Entry>(table: Table<Entry>): number {
  return table.entries.length;
}

/** Adds an entry. @returns its number */
export function addEntry<Entry>(table: Table<Entry>, entry: Entry): number {
  const id = nextId(table);
  table.entries[id] = entry;
  table.size++;
  return id;
}

/** Removes an entry at once. */
export function removeEntry<Entry>(table: Table<Entry>, id: number): void {
  if (table.entries[id] === undefined) return;
  table.entries[id] = undefined;
  table.size--;
  table.releasedIds.push(id);
}

/** The turn is over: the released numbers are free. */
export function freeClosedIds<Entry>(table: Table<Entry>): void {
  table.releasedIds.length = 0;
}
