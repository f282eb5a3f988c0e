/**
 * A solution of exercise 1: a search from 0 up. It takes longer with each connection; the server's own table, a heap of the free
 * numbers, takes a few steps for any number of connections.
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
export function nextId<Entry>({ entries, releasedIds }: Table<Entry>): number {
  let id = 0;
  while (entries[id] !== undefined || releasedIds.includes(id)) id++;
  return id;
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
