/** The conversation: lines grouped by author, dividers between days, and the scroll position. */
import { type Piece, splitLinks } from './links.ts';
import { type Line, type Room, serverNick } from './room.ts';

export interface MessageList {
  /** Renders the room in the next animation frame. */
  show(room: Room): void;
  /** Whether the newest line is visible; the list then follows new lines. */
  isAtEnd(): boolean;
  scrollToEnd(): void;
}

export interface MessageListEvents {
  scrolled(): void;
  /** Buttons of a rejected line. */
  tryAgain(line: Line): void;
  discard(line: Line): void;
}

/** The longest time in milliseconds between two lines of a group. */
const groupGap = 5 * 60_000;
/** Pixels from the end that still count as the end. */
const endSlack = 48;

const timeOfDay = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const fullTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'short' });
const dayOfYear = new Intl.DateTimeFormat(undefined, { dateStyle: 'full' });
const dayName = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });

/** @param frame the element that scrolls @param list the list in it; each line becomes an item */
export function newMessageList(
  frame: HTMLElement,
  list: HTMLElement,
  events: MessageListEvents,
): MessageList {
  const items = new WeakMap<Line, HTMLLIElement>();
  let room: Room | undefined;
  let isDue = false;
  let isAtEnd = true;

  const scrollToEnd = (): void => {
    isAtEnd = true;
    frame.scrollTop = frame.scrollHeight;
  };

  const render = (): void => {
    isDue = false;
    if (room === undefined) return;
    let place = list.firstElementChild;
    let previous: Line | undefined;
    for (const line of [...room.lines, ...room.unconfirmed]) {
      const item = items.get(line) ?? newItem(line);
      items.set(line, item);
      update(item, line, previous, events);
      if (item === place) place = place.nextElementSibling;
      else list.insertBefore(item, place);
      previous = line;
    }
    while (place !== null) {
      const gone = place;
      place = place.nextElementSibling;
      gone.remove();
    }
    if (isAtEnd) scrollToEnd();
  };

  // Focusable, so that the keyboard can scroll it.
  frame.tabIndex = 0;
  frame.addEventListener('scroll', () => {
    isAtEnd = frame.scrollHeight - frame.scrollTop - frame.clientHeight < endSlack;
    events.scrolled();
  });
  // A phone's keyboard and a growing draft shrink the list.
  new ResizeObserver(() => isAtEnd && scrollToEnd()).observe(frame);

  return {
    show(shown) {
      room = shown;
      if (!isDue) requestAnimationFrame(render);
      isDue = true;
    },
    isAtEnd: () => isAtEnd,
    scrollToEnd,
  };
}

/** Hues in degrees that are easy to tell apart; among evenly spaced ones, too many look green. */
const hues = [12, 40, 65, 95, 145, 190, 225, 260, 290, 315, 340];

/** A hue for a nick, the same on every page. */
export function hueOf(nick: string): string {
  let hash = 7;
  for (const character of nick) hash = (Math.imul(hash, 31) + character.codePointAt(0)!) >>> 0;
  return String(hues[hash % hues.length]);
}

/** @param children strings become text nodes, so that no message is parsed as HTML */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  className: string,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  made.className = className;
  made.append(...children);
  return made;
}

function newItem(line: Line): HTMLLIElement {
  const isServer = line.nick === serverNick;
  const nick = element('bdi', 'nick', line.nick);
  const text = element('p', 'text');
  text.dir = 'auto';
  if (isServer) nick.prepend(document.querySelector('svg.mark')!.cloneNode(true));
  const item = element('li', '', element('div', 'by', nick, element('time', '')), text);
  item.style.setProperty('--hue', hueOf(line.nick));
  return item;
}

/** What each item shows, so that only changed items are updated. */
const shownAs = new WeakMap<HTMLLIElement, string>();

function update(
  item: HTMLLIElement,
  line: Line,
  previous: Line | undefined,
  events: MessageListEvents,
): void {
  const divider = dividerBefore(line, previous);
  const isSameGroup = divider === '' && line.nick === previous?.nick && line.time - previous.time < groupGap;
  const kind = line.isOwn ? ' own' : line.nick === serverNick ? ' server' : '';
  const className = `${line.state}${kind}${isSameGroup ? '' : ' first'}`;
  const note = line.uid === undefined ? 'waiting for the connection' : 'sending';
  const shown = [className, note, divider, line.time, line.text, line.reason].join('|');
  if (shownAs.get(item) === shown) return;
  shownAs.set(item, shown);
  item.className = className;
  item.dataset['divider'] = divider;
  item.querySelector('.text')!.replaceChildren(...splitLinks(line.text).map(link));
  const time = item.querySelector('time')!;
  time.textContent = timeOfDay.format(line.time);
  time.title = fullTime.format(line.time);
  time.dateTime = new Date(line.time).toISOString();
  item.querySelector('.note')?.remove();
  if (line.state === 'waiting') item.append(element('small', 'note', note));
  if (line.state === 'refused') item.append(rejectionNote(line, events));
}

function link({ text, href }: Piece): Node | string {
  if (href === undefined) return text;
  const made = element('a', '', text);
  made.href = href;
  made.target = '_blank';
  made.rel = 'noopener noreferrer';
  // Right-to-left text around the link must not reorder the address.
  made.dir = 'ltr';
  return made;
}

function rejectionNote(line: Line, events: MessageListEvents): HTMLElement {
  const again = element('button', 'plain', 'Try again');
  const remove = element('button', 'plain', 'Remove');
  again.onclick = () => events.tryAgain(line);
  remove.onclick = () => events.discard(line);
  return element('small', 'note', 'Not sent: ', element('bdi', '', line.reason), '. ', again, ' ', remove);
}

/** The divider above a line; empty if there is none. */
function dividerBefore(line: Line, previous: Line | undefined): string {
  if (line.state === 'missed' && previous?.state !== 'missed') return 'While you were away';
  const day = dayOf(line.time);
  const today = dayOf(Date.now());
  if (day === (previous === undefined ? today : dayOf(previous.time))) return '';
  return day === today ? 'Today' : day;
}

function dayOf(time: number): string {
  const isThisYear = new Date(time).getFullYear() === new Date().getFullYear();
  return (isThisYear ? dayName : dayOfYear).format(time);
}
