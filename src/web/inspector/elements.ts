/** Elements of the page. Text is always inserted as text. */
import { appendVisible } from './visible.ts';

/** @throws Error if the page has no such element */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no element #${id}`);
  return found as E;
}

/** A new element. @param text from any source: invisible characters are marked */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  text = '',
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== '') element.className = className;
  if (text !== '') appendVisible(element, text);
  return element;
}

/** Replaces the text of an element, unless it is the same: screen readers announce each change. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** `1 frame`, `1,234 frames`. */
export function counted(count: number, noun: string): string {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}
