/**
 * A list of any length in which only the visible rows are elements: a listbox for the keyboard and for screen readers. All rows have
 * the same height, the `--row` of the style sheet, in rem.
 */
import { make } from './elements.ts';

export interface ListSettings<T> {
  /** The scrolled element, with role=listbox. */
  readonly element: HTMLElement;
  /** A number that identifies an item. */
  keyOf(item: T): number;
  fill(row: HTMLElement, item: T): void;
  /** An item was chosen by the user. */
  onSelect(item: T): void;
  /** Enter on the chosen item. */
  onOpen?(item: T): void;
  /** The list scrolled, or stopped following. */
  onFollow?(isFollowing: boolean): void;
}

export interface List<T> {
  /** Shows these items. Items that are the same objects as before are not drawn again. @param dropped items that were removed at the front */
  show(items: readonly T[], dropped?: number): void;
  /** Chooses an item as the user does, but without `onSelect`. */
  select(key: number | undefined): void;
  selected(): number | undefined;
  /** Scrolls to the end, and stays there. */
  follow(): void;
  isFollowing(): boolean;
  /** Draws all rows again, for another size of text. */
  redraw(): void;
}

/** Rows that are drawn above and below the visible ones. */
const margin = 4;

export function newList<T>(settings: ListSettings<T>): List<T> {
  const { element, keyOf, fill } = settings;
  const space = make('div', 'space');
  space.setAttribute('role', 'presentation');
  element.append(space);
  let items: readonly T[] = [];
  let chosen: number | undefined;
  let isFollowing = true;
  let isDue = false;
  let rowHeight = 0;
  /** Where the last scroll ended. */
  let lastTop = 0;
  /** The drawn rows by key. */
  const rows = new Map<number, { row: HTMLElement; item: T }>();

  const measure = (): void => {
    const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
    rowHeight = Math.round(Number.parseFloat(getComputedStyle(element).getPropertyValue('--row')) * rem);
    element.style.setProperty('--row-pixels', `${rowHeight}px`);
  };

  const draw = (): void => {
    isDue = false;
    if (element.clientHeight === 0) return;
    measure();
    space.style.height = `${items.length * rowHeight}px`;
    if (isFollowing) {
      element.scrollTop = items.length * rowHeight;
      lastTop = element.scrollTop;
    }
    const first = Math.max(0, Math.floor(element.scrollTop / rowHeight) - margin);
    const last = Math.min(
      items.length,
      Math.ceil((element.scrollTop + element.clientHeight) / rowHeight) + margin,
    );
    const kept = new Set<number>();
    for (let at = first; at < last; at++) kept.add(keyOf(items[at]!));
    for (const [key, { row }] of rows) {
      if (kept.has(key)) continue;
      row.remove();
      rows.delete(key);
    }
    for (let at = first; at < last; at++) drawRow(at);
    const active = chosen === undefined ? undefined : rows.get(chosen)?.row;
    if (active === undefined) element.removeAttribute('aria-activedescendant');
    else element.setAttribute('aria-activedescendant', active.id);
  };

  const drawRow = (at: number): void => {
    const item = items[at]!;
    const key = keyOf(item);
    let drawn = rows.get(key);
    if (drawn === undefined) {
      const row = make('div', 'row');
      row.id = `${element.id}-${key}`;
      row.setAttribute('role', 'option');
      row.dataset['key'] = String(key);
      drawn = { row, item };
      rows.set(key, drawn);
      fill(row, item);
      space.append(row);
    } else if (drawn.item !== item) {
      drawn.item = item;
      drawn.row.replaceChildren();
      fill(drawn.row, item);
    }
    const { row } = drawn;
    row.style.transform = `translateY(${at * rowHeight}px)`;
    row.setAttribute('aria-setsize', String(items.length));
    row.setAttribute('aria-posinset', String(at + 1));
    row.setAttribute('aria-selected', String(key === chosen));
  };

  const schedule = (): void => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(draw);
  };

  const setFollowing = (is: boolean): void => {
    if (is === isFollowing) return;
    isFollowing = is;
    settings.onFollow?.(is);
  };

  const indexOf = (key: number | undefined): number =>
    key === undefined ? -1 : items.findIndex(item => keyOf(item) === key);

  const bringIntoView = (at: number): void => {
    const top = at * rowHeight;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + rowHeight > element.scrollTop + element.clientHeight)
      element.scrollTop = top + rowHeight - element.clientHeight;
  };

  /** The user chooses the item at this index. */
  const choose = (at: number): void => {
    const item = items[at];
    if (item === undefined) return;
    chosen = keyOf(item);
    // A chosen row stays in place while others arrive.
    setFollowing(false);
    bringIntoView(at);
    lastTop = element.scrollTop;
    draw();
    settings.onSelect(item);
  };

  const page = (): number => Math.max(1, Math.floor(element.clientHeight / rowHeight) - 1);
  const steps: Readonly<Record<string, (at: number) => number>> = {
    ArrowDown: at => at + 1,
    ArrowUp: at => (at < 0 ? items.length - 1 : at - 1),
    PageDown: at => at + page(),
    PageUp: at => at - page(),
    Home: () => 0,
    End: () => items.length - 1,
  };
  element.addEventListener('keydown', event => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const at = indexOf(chosen);
    const step = steps[event.key];
    if (step !== undefined && items.length > 0) {
      event.preventDefault();
      choose(Math.min(items.length - 1, Math.max(0, step(at))));
      if (event.key === 'End') setFollowing(true);
    } else if ((event.key === 'Enter' || event.key === ' ') && at >= 0) {
      event.preventDefault();
      settings.onOpen?.(items[at]!);
    }
  });
  element.addEventListener('click', event => {
    const row = (event.target as Element).closest<HTMLElement>('.row');
    if (row !== null && getSelection()?.isCollapsed !== false) choose(indexOf(Number(row.dataset['key'])));
  });
  element.addEventListener('dblclick', () => {
    const at = indexOf(chosen);
    if (at >= 0) settings.onOpen?.(items[at]!);
  });
  element.addEventListener('scroll', () => {
    const { scrollTop, clientHeight } = element;
    // Only the user's scrolling changes it, not rows that arrive or are chosen.
    if (scrollTop < lastTop) setFollowing(false);
    else if (scrollTop > lastTop && scrollTop + clientHeight >= (items.length - 0.5) * rowHeight)
      setFollowing(true);
    lastTop = scrollTop;
    schedule();
  });
  new ResizeObserver(schedule).observe(element);

  return {
    show(next, dropped = 0) {
      items = next;
      if (!isFollowing && dropped > 0) {
        space.style.height = `${items.length * rowHeight}px`;
        element.scrollTop = Math.max(0, element.scrollTop - dropped * rowHeight);
        lastTop = element.scrollTop;
      }
      schedule();
    },
    select(key) {
      chosen = key;
      const at = indexOf(key);
      if (at >= 0 && element.clientHeight > 0) bringIntoView(at);
      schedule();
    },
    selected: () => chosen,
    follow() {
      setFollowing(true);
      schedule();
    },
    isFollowing: () => isFollowing,
    redraw: schedule,
  };
}
