/** The inspector's page: connects its parts with the server. */
import type { ConnectionState, ServerMessage } from '../../handlers/inspector/messages.ts';
import { type ListedConnection, newConnections, titleOf } from './connections.ts';
import { byId, setText } from './elements.ts';
import { newExplanationView } from './explanation.ts';
import { newFrames } from './frames.ts';
import { installKeys } from './keys.ts';
import { installSizes, installSplitter } from './layout.ts';
import { openLink } from './link.ts';
import { type FrameRow, timeOf } from './rows.ts';
import { newStateDiagram } from './states.ts';
import { newWorkbench } from './workbench.ts';

/** Milliseconds before a chosen row is explained: the arrow keys pass over many rows. */
const explainDelay = 60;

let watched: number | undefined;
/** The state of the watched connection, as the server last said. */
let watchedState: ConnectionState | undefined;
let explaining: FrameRow | undefined;
let explainTimer: ReturnType<typeof setTimeout> | undefined;

const showState = newStateDiagram(byId('states'));
const explanation = newExplanationView();
const connections = newConnections({
  chosen: watch,
  opened: () => byId('frame-list').focus(),
});
const frames = newFrames({
  chosen: explain,
  opened() {
    openTab('frame');
    document.querySelector<HTMLElement>('#bytes [role=listbox]')?.focus();
  },
  paused: isPaused => link.send({ type: 'pause', isPaused }),
});
const workbench = newWorkbench({
  send: message => link.send(message),
  connected(serial) {
    connections.select(serial);
    watch(serial);
  },
});

/** Shows the frames of a connection. */
function watch(serial: number): void {
  if (serial === watched) return;
  watched = serial;
  watchedState = undefined;
  frames.begin();
  explaining = undefined;
  explanation.clear();
  history.replaceState(null, '', `#${serial}`);
  link.send({ type: 'watch', serial });
  showWatched();
}

function showWatched(): void {
  const one = watched === undefined ? undefined : connections.bySerial(watched);
  const title = watched === undefined ? 'No connection is chosen' : `#${watched}`;
  setText(byId('watched-title'), one === undefined ? title : `${title} ${titleOf(one)}`);
  setText(byId('watched-facts'), one === undefined ? '' : factsOf(one));
  const state = one?.ended === undefined ? (watchedState ?? one?.state) : 'ENDED';
  showState(state);
  setText(byId('watched-state'), state ?? '');
  byId<HTMLButtonElement>('export').disabled = watched === undefined;
}

function factsOf(one: ListedConnection): string {
  if (one.ended !== undefined) return one.ended.why;
  return [
    one.address,
    one.user ?? '',
    `since ${timeOf(one.since).slice(0, 8)}`,
    one.wire === 'websocket' ? '' : one.wire,
    one.isSecure ? 'TLS' : '',
    one.isCompressed ? 'permessage-deflate' : '',
    one.unsent > 0 ? `${one.unsent.toLocaleString('en')} bytes unsent` : '',
    ...(one.faults ?? []),
  ]
    .filter(fact => fact !== '')
    .join(' · ');
}

/** Opens a frame. */
function explain(row: FrameRow): void {
  const { frame } = row;
  if (frame === undefined) return;
  explaining = row;
  explanation.begin(frame);
  openTab('frame');
  clearTimeout(explainTimer);
  if (frame.isRedacted === true)
    return explanation.fail('The frame contained a credential: its bytes are not kept.');
  if (frame.kind === 'fault' || frame.kind === 'end') return explanation.fail('');
  if (row.visit !== frames.visit())
    return explanation.fail('The server no longer has this frame: the inspector was disconnected since.');
  explainTimer = setTimeout(() => link.send({ type: 'explain', frame: frame.frame }), explainDelay);
}

function receive(message: ServerMessage): void {
  switch (message.type) {
    case 'welcome':
      setText(byId('server'), `${location.host} · Pollywog ${message.version}`);
      return workbench.welcome(message);
    case 'connections':
      connections.apply(message);
      return showWatched();
    case 'frames':
      if (message.serial === watched) frames.apply(message);
      return;
    case 'state':
      if (message.serial !== watched) return;
      watchedState = message.state ?? 'ENDED';
      return showWatched();
    case 'explanation':
      if (message.frame === explaining?.frame?.frame) explanation.show(message);
      return;
    case 'recording':
      if (message.isCut) setText(byId('sampled'), 'The recording is not complete');
      return save(`connection-${message.serial}.jsonl`, message.text);
    case 'failed':
      if (message.about === 'explain')
        return message.id === explaining?.frame?.frame ? explanation.fail(message.why) : undefined;
      if (message.about === 'export' || message.about === 'watch')
        return setText(byId('sampled'), message.why);
      return workbench.apply(message);
    default:
      return workbench.apply(message);
  }
}

function save(name: string, text: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'application/jsonl' }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

const door = byId<HTMLDialogElement>('door');
const link = openLink({
  entered() {
    showLink('live', 'Live');
    connections.clear();
    frames.beginVisit();
    if (frames.isPaused()) link.send({ type: 'pause', isPaused: true });
    const named = /^#(\d+)$/.exec(location.hash)?.[1];
    if (watched !== undefined) link.send({ type: 'watch', serial: watched });
    else if (named !== undefined) watch(Number(named));
    connections.select(watched);
  },
  received: receive,
  needsToken(reason) {
    showLink('lost', 'The server asks for a token');
    setText(byId('door-reason'), reason);
    if (!door.open) door.showModal();
  },
  lost(reason, retryIn) {
    workbench.lost();
    const what = reason === '' ? 'No connection to the server' : reason;
    showLink('lost', retryIn === undefined ? what : `${what} · trying again`);
  },
});
byId('retry').addEventListener('click', () => link.retryNow());

function showLink(state: 'live' | 'lost', text: string): void {
  setText(byId('link'), text);
  byId('link').className = state;
  byId('retry').hidden = state === 'live' || door.open;
}

door.addEventListener('cancel', event => event.preventDefault());
door.querySelector('form')!.addEventListener('submit', () => {
  const token = byId<HTMLInputElement>('token');
  showLink('lost', 'Connecting…');
  link.enter(token.value);
  token.value = '';
});

const tabs = ['frame', 'workbench'] as const;
function openTab(name: (typeof tabs)[number]): void {
  for (const one of tabs) {
    const tab = byId(`tab-${one}`);
    tab.setAttribute('aria-selected', String(one === name));
    tab.tabIndex = one === name ? 0 : -1;
    byId(`${one}-panel`).hidden = one !== name;
  }
}
for (const name of tabs) {
  const tab = byId(`tab-${name}`);
  tab.addEventListener('click', () => openTab(name));
  tab.addEventListener('keydown', ({ key }) => {
    if (key !== 'ArrowLeft' && key !== 'ArrowRight') return;
    const other = name === 'frame' ? 'workbench' : 'frame';
    openTab(other);
    byId(`tab-${other}`).focus();
  });
}

function exportRecording(): void {
  if (watched !== undefined) link.send({ type: 'export', serial: watched });
}
byId('export').addEventListener('click', exportRecording);

installSplitter();
const resize = installSizes(() => {
  connections.redraw();
  frames.redraw();
  workbench.redraw();
});
installKeys([
  { key: 'c', does: 'connections', act: () => byId('connection-list').focus() },
  { key: 'f', does: 'frames', act: () => byId('frame-list').focus() },
  { key: 'd', does: 'fields of the opened frame', act: () => focusFields() },
  {
    key: 'w',
    does: 'workbench',
    act() {
      openTab('workbench');
      byId('payload').focus();
    },
  },
  { key: '/', does: 'search in frames', act: () => byId('find-frame').focus() },
  { key: 'p', does: 'pause and resume', act: () => frames.togglePause() },
  { key: 'n', does: 'follow the newest frame', act: () => frames.follow() },
  { key: 'e', does: 'export the recording', act: exportRecording },
  { key: '+', does: 'larger text', act: () => resize(1) },
  { key: '-', does: 'smaller text', act: () => resize(-1) },
]);

function focusFields(): void {
  openTab('frame');
  (document.querySelector<HTMLElement>('#bytes [role=listbox]') ?? byId('bytes')).focus();
}

explanation.clear();
showWatched();
