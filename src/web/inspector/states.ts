/** The state diagram of a connection, RFC 6455 §4, §5 and §7, as a picture with the current state lit. */
import type { ConnectionState } from '../../handlers/inspector/messages.ts';

const states: readonly ConnectionState[] = ['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED', 'ENDED'];

const meanings: Readonly<Record<ConnectionState, string>> = {
  CONNECTING: 'the opening handshake is not complete',
  OPEN: 'messages go both ways',
  CLOSING: 'the server has sent a close frame, and waits for the client’s',
  CLOSED: 'the closing handshake is complete, or a rule was broken: the TCP connection ends',
  ENDED: 'the TCP connection is gone',
};

/** Positions in the picture, in its own units. */
const boxWidth = 100;
const boxHeight = 28;
const gap = 58;
const top = 32;
const middle = top + boxHeight / 2;
const leftOf = (state: ConnectionState) => 1 + states.indexOf(state) * (boxWidth + gap);

/** Arrows to the next state: what happens, in two short lines. */
const steps: readonly (readonly [above: string, below: string])[] = [
  ['101', 'sent'],
  ['server', 'closes'],
  ['client', 'answers'],
  ['FIN', 'both'],
];

const namespace = 'http://www.w3.org/2000/svg';

function shape(
  parent: Element,
  name: string,
  attributes: Readonly<Record<string, string | number>>,
): Element {
  const element = document.createElementNS(namespace, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  parent.append(element);
  return element;
}

function label(parent: Element, x: number, y: number, text: string): void {
  shape(parent, 'text', { x, y, 'text-anchor': 'middle' }).textContent = text;
}

/** Draws the diagram into an element. @returns a function that lights a state */
export function newStateDiagram(parent: Element): (state: ConnectionState | undefined) => void {
  const width = leftOf('ENDED') + boxWidth + 1;
  const picture = shape(parent, 'svg', { viewBox: `0 0 ${width} 90`, role: 'img' });
  const head = shape(shape(picture, 'defs', {}), 'marker', {
    ...{ id: 'arrow', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto' },
  });
  shape(head, 'path', { d: 'M0 0.5 7.5 4 0 7.5z' });
  const arrow = (d: string) => shape(picture, 'path', { d, class: 'arrow', 'marker-end': 'url(#arrow)' });

  steps.forEach(([above, below], i) => {
    const from = leftOf(states[i]!) + boxWidth;
    arrow(`M${from + 2} ${middle}h${gap - 4}`);
    label(picture, from + gap / 2 - 2, middle - 5, above);
    label(picture, from + gap / 2 - 2, middle + 14, below);
  });
  const centre = (state: ConnectionState) => leftOf(state) + boxWidth / 2;
  arrow(`M${centre('OPEN')} ${top - 2}v-8q0 -6 6 -6H${centre('CLOSED') - 6}q6 0 6 6v7`);
  label(picture, centre('CLOSING'), top - 16, 'client closes, or a rule is broken');
  const bottom = top + boxHeight;
  arrow(`M${centre('OPEN')} ${bottom + 2}v8q0 6 6 6H${centre('ENDED') - 6}q6 0 6 -6v-7`);
  label(picture, centre('CLOSING') + 30, bottom + 28, 'TCP connection lost');

  const boxes = states.map(state => {
    const group = shape(picture, 'g', { class: 'state' });
    shape(group, 'rect', { x: leftOf(state), y: top, width: boxWidth, height: boxHeight, rx: 7 });
    label(group, centre(state), middle + 4.5, state);
    shape(group, 'title', {}).textContent = meanings[state];
    return group;
  });
  return current => {
    picture.setAttribute('aria-label', current === undefined ? 'States' : `State: ${current}`);
    boxes.forEach((box, i) => {
      box.classList.toggle('lit', states[i] === current);
    });
  };
}
