/** The page at /channels/NAME: shows what is published, for people who try channels. It uses the same URL as programs do. */

/** The JSON form of a message, a gap, or the server's position. */
interface Received {
  readonly id?: string;
  readonly channel?: string;
  readonly event?: string;
  readonly from?: string;
  readonly data?: unknown;
  readonly base64?: string;
  readonly gap?: readonly string[];
  readonly last?: string;
}

/** Messages shown, and kept ones that a new page starts with. */
const maxShown = 500;
const shownAtStart = 50;

/** Milliseconds before connecting again: doubles up to the maximum. */
const firstDelay = 500;
const maxDelay = 15_000;

/** The close codes of a refusal: the next attempt would be refused, too. */
const refusals: readonly number[] = [4401, 4403];

const element = (id: string) => document.getElementById(id)!;
const messages = element('messages');
const query = new URLSearchParams(location.search);
const named = /\/channels\/(.+)$/.exec(location.pathname)?.[1];
const channels = named === undefined ? query.getAll('c') : [decodeURIComponent(named)];

let cursor = query.get('after') ?? undefined;
let delay = firstDelay;
/** The position of the server when the connection opened: messages up to it were published earlier, and have no time. */
let position = '';

function connect(): void {
  const url = new URL(location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  url.hash = '';
  url.searchParams.set('format', 'json');
  if (cursor !== undefined) url.searchParams.set('after', cursor);
  else if (!query.has('last')) url.searchParams.set('last', String(shownAtStart));
  const socket = new WebSocket(url);
  // The server accepts a WebSocket before it refuses it, so that a page can read the reason. Its first message is its position.
  socket.onmessage = ({ data }) => {
    delay = firstDelay;
    showState('live');
    receive(JSON.parse(data));
  };
  let wasOpen = false;
  socket.onopen = () => {
    wasOpen = true;
  };
  socket.onclose = async ({ code, reason }) => {
    const why = refusals.includes(code) ? reason : wasOpen ? undefined : await findRefusal();
    if (why !== undefined) return showState('refused', why);
    showState('connecting');
    setTimeout(connect, delay * (0.5 + Math.random()));
    delay = Math.min(maxDelay, 2 * delay);
  };
}

/**
 * Browsers hide the answer to a handshake. If the server refuses pages of this origin, it also refuses this request.
 * @returns the reason; undefined if there is another one
 */
async function findRefusal(): Promise<string | undefined> {
  try {
    const answer = await fetch(location.pathname, { method: 'OPTIONS' });
    return answer.status === 403 ? (await answer.json()).error : undefined;
  } catch {
    return undefined;
  }
}

function showState(state: 'live' | 'connecting' | 'refused', text: string = state): void {
  element('state').textContent = text;
  element('state').className = state;
}

function receive(received: Received): void {
  const { id, gap, last, channel = '', event, from, data, base64 } = received;
  if (last !== undefined) position = last;
  if (gap !== undefined)
    show('gap', '', `Messages in ${gap.join(', ')} are missing here: they are no longer kept.`);
  cursor = id ?? cursor;
  if (data === undefined && base64 === undefined) return;
  const about = [channels.length > 1 ? channel : undefined, event, from].filter(part => part !== undefined);
  const text = typeof data === 'string' ? data : JSON.stringify(data, undefined, 2);
  const shown = base64 === undefined ? text : `${base64} (bytes, in base64)`;
  show('message', about.join(' · '), shown, id !== undefined && !isNewer(id, position));
}

/** Whether this id is that of a later message. The part after the hyphen is the number of the message. */
function isNewer(id: string, than: string): boolean {
  const numberOf = (one: string) => Number(one.split('-')[1]);
  return numberOf(id) > numberOf(than);
}

/** Adds a line at the top. @param isEarlier whether the message was published before the page connected */
function show(kind: 'message' | 'gap', about: string, text: string, isEarlier = false): void {
  const line = document.createElement('li');
  line.className = kind;
  const time = document.createElement('time');
  time.textContent = isEarlier ? 'earlier' : new Date().toLocaleTimeString();
  line.append(time, newSpan('about', about), newSpan('data', text));
  messages.prepend(line);
  element('empty').hidden = true;
  if (messages.children.length > maxShown) messages.lastElementChild!.remove();
}

function newSpan(name: string, text: string): HTMLSpanElement {
  const span = document.createElement('span');
  span.className = name;
  span.textContent = text;
  return span;
}

if (channels.length > 0) element('channels').textContent = channels.join(', ');
if (channels.length > 0) {
  document.title = `${channels.join(', ')} · Pollywog`;
  element('empty').hidden = false;
  connect();
} else {
  element('choice').hidden = false;
  element('state').hidden = true;
  element('choice').addEventListener('submit', event => {
    event.preventDefault();
    location.search = new URLSearchParams({ c: (element('name') as HTMLInputElement).value }).toString();
  });
}
