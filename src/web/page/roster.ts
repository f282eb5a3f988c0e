/** The list of users beside the conversation; on a phone it is behind a button. */
import { element, hueOf } from './messages.ts';

export interface Roster {
  /** @param people nicks by uid */
  show(people: ReadonlyMap<number, string>, ownNick: string): void;
  /** Closes the list if it covers the conversation. @returns whether it did */
  close(): boolean;
}

export function newRoster(panel: HTMLElement, button: HTMLButtonElement): Roster {
  const list = panel.querySelector('ul')!;
  const mark = document.querySelector('svg.mark')!;
  const order = new Intl.Collator();

  const open = (isOpen: boolean): void => {
    panel.classList.toggle('open', isOpen);
    button.ariaExpanded = String(isOpen);
  };
  const close = (): boolean => {
    const wasOpen = panel.classList.contains('open');
    open(false);
    return wasOpen;
  };
  button.onclick = () => open(!panel.classList.contains('open'));

  return {
    show(people, ownNick) {
      const nicks = [...people.values()].sort(order.compare);
      const count = nicks.length === 1 ? '1 person' : `${nicks.length} people`;
      button.textContent = count;
      panel.querySelector('h2')!.textContent = `${count} here`;
      list.replaceChildren(
        ...nicks.map(nick => {
          const item = element('li', '', mark.cloneNode(true), element('bdi', 'nick', nick));
          if (nick === ownNick) item.append(element('small', '', 'you'));
          item.style.setProperty('--hue', hueOf(nick));
          return item;
        }),
      );
    },
    close,
  };
}
