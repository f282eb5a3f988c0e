/** The keys of the page, and the dialog that lists them. */
import { byId, make } from './elements.ts';

export interface Key {
  /** As `event.key`; shown to the user. */
  readonly key: string;
  readonly does: string;
  act(): void;
}

const storageKey = 'pollywog-inspector-keys';

/** Keys that the lists handle. */
const listKeys: readonly (readonly [key: string, does: string])[] = [
  ['↑ ↓', 'previous and next row of a list'],
  ['Page ↑ ↓', 'a page of rows'],
  ['Home, End', 'first and last row; End follows new ones'],
  ['Enter', 'from a connection to its frames, from a frame to its fields'],
  ['Tab', 'next part of the page'],
];

export function installKeys(keys: readonly Key[]): void {
  const help = byId<HTMLDialogElement>('help');
  const terms = help.querySelector('dl')!;
  const all = [...keys, { key: '?', does: 'this list', act: () => help.showModal() }];
  for (const [key, does] of [...all.map(one => [one.key, one.does] as const), ...listKeys]) {
    const term = make('dt');
    term.append(make('kbd', '', key));
    terms.append(term, make('dd', '', does));
  }
  byId('keys').addEventListener('click', () => help.showModal());
  const isOn = byId<HTMLInputElement>('single-keys');
  isOn.checked = localStorage.getItem(storageKey) !== 'off';
  isOn.addEventListener('change', () => localStorage.setItem(storageKey, isOn.checked ? 'on' : 'off'));
  document.addEventListener('keydown', event => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || !isOn.checked) return;
    if (document.querySelector('dialog[open]') !== null) return;
    const target = event.target as HTMLElement;
    if (target.matches('textarea, select, input:not([type=radio], [type=checkbox])')) {
      if (event.key === 'Escape') target.blur();
      return;
    }
    const key = all.find(one => one.key === event.key);
    if (key === undefined) return;
    event.preventDefault();
    key.act();
  });
}
