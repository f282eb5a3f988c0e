/**
 * The connection table: what `fd` numbers are to a C server. An id is the lowest free number, as POSIX `open` promises;
 * listeners have ids too. A released id is free from the next turn on, so that nothing in this turn mistakes a new connection
 * for an old one.
 */

export interface Table<Entry> {
  /** Indexed by id. */
  readonly entries: (Entry | undefined)[];
  /** The number of occupied entries. */
  size: number;
  /** Ids below `entries.length` that are free: a binary heap, the lowest at its top. */
  readonly freeIds: number[];
  /** Released in this turn, free from the next. */
  readonly releasedIds: number[];
}

export function newTable<Entry>(): Table<Entry> {
  return { entries: [], size: 0, freeIds: [], releasedIds: [] };
}

/** The id that the next `addEntry` gives. */
export function nextId<Entry>(table: Table<Entry>): number {
  return table.freeIds[0] ?? table.entries.length;
}

export function addEntry<Entry>(table: Table<Entry>, entry: Entry): number {
  const id = table.freeIds.length > 0 ? popLowest(table.freeIds) : table.entries.length;
  table.entries[id] = entry;
  table.size++;
  return id;
}

/** The entry is gone at once, its id free from the next turn on. */
export function removeEntry<Entry>(table: Table<Entry>, id: number): void {
  if (table.entries[id] === undefined) return;
  table.entries[id] = undefined;
  table.size--;
  table.releasedIds.push(id);
}

/** The turn is over: makes the released ids free. */
export function freeClosedIds<Entry>(table: Table<Entry>): void {
  for (const id of table.releasedIds) push(table.freeIds, id);
  table.releasedIds.length = 0;
}

function push(heap: number[], id: number): void {
  let at = heap.length;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (heap[parent]! <= id) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = id;
}

function popLowest(heap: number[]): number {
  const lowest = heap[0]!;
  const last = heap.pop()!;
  const length = heap.length;
  let at = 0;
  while (length > 0) {
    let child = 2 * at + 1;
    if (child >= length) break;
    if (child + 1 < length && heap[child + 1]! < heap[child]!) child++;
    if (heap[child]! >= last) break;
    heap[at] = heap[child]!;
    at = child;
  }
  if (length > 0) heap[at] = last;
  return lowest;
}
