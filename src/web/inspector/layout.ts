/** The size of the text and the height of the details, which the browser remembers. */
import { byId } from './elements.ts';

/** Factors of the style sheet's own size. */
const sizes = [0.875, 1, 1.125, 1.25, 1.5, 1.75];
const sizeKey = 'pollywog-inspector-size';
const heightKey = 'pollywog-inspector-details';
/** The first share of the details: the workbench fits on 1280 x 800 pixels. */
const firstShare = 54;

/** @returns a function that changes the size by so many steps @param changed called when the rows have another height */
export function installSizes(changed: () => void): (step: number) => void {
  const kept = sizes.indexOf(Number(localStorage.getItem(sizeKey)));
  let at = kept < 0 ? 1 : kept;
  const buttons = { '-1': byId<HTMLButtonElement>('smaller'), '1': byId<HTMLButtonElement>('larger') };
  const apply = (): void => {
    document.documentElement.style.setProperty('--size', String(sizes[at]));
    buttons['-1'].disabled = at === 0;
    buttons['1'].disabled = at === sizes.length - 1;
    changed();
  };
  const resize = (step: number): void => {
    at = Math.min(sizes.length - 1, Math.max(0, at + step));
    localStorage.setItem(sizeKey, String(sizes[at]));
    apply();
  };
  buttons['-1'].addEventListener('click', () => resize(-1));
  buttons['1'].addEventListener('click', () => resize(1));
  apply();
  return resize;
}

/** The separator between the frames and the details: the share of the details in per cent. */
export function installSplitter(): void {
  const splitter = byId('splitter');
  const main = splitter.parentElement!;
  const apply = (share: number): void => {
    const bounded = Math.round(Math.min(80, Math.max(15, share)));
    main.style.setProperty('--details', `${bounded}%`);
    splitter.setAttribute('aria-valuenow', String(bounded));
    localStorage.setItem(heightKey, String(bounded));
  };
  const attributes = {
    ...{ role: 'separator', tabindex: '0', 'aria-orientation': 'horizontal', 'aria-controls': 'details' },
    ...{ 'aria-label': 'Height of the details', 'aria-valuemin': '15', 'aria-valuemax': '80' },
  };
  for (const [name, value] of Object.entries(attributes)) splitter.setAttribute(name, value);
  const kept = Number(localStorage.getItem(heightKey));
  apply(kept > 0 ? kept : firstShare);
  const now = () => Number(splitter.getAttribute('aria-valuenow'));
  splitter.addEventListener('keydown', event => {
    const step = { ArrowUp: 4, ArrowDown: -4, Home: 100, End: -100 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    apply(now() + step);
  });
  splitter.addEventListener('pointerdown', event => {
    splitter.setPointerCapture(event.pointerId);
  });
  splitter.addEventListener('pointermove', event => {
    if (!splitter.hasPointerCapture(event.pointerId)) return;
    const { bottom, height } = main.getBoundingClientRect();
    apply((100 * (bottom - event.clientY)) / height);
  });
  splitter.addEventListener('dblclick', () => apply(firstShare));
}
