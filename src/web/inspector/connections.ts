/** The list of connections. */
import type {
  ConnectionState,
  ConnectionsMessage,
  EndedConnection,
  InspectedConnection,
} from '../../handlers/inspector/messages.ts';
import { byId, make, setText } from './elements.ts';
import { newList } from './list.ts';
import { visibleText } from './visible.ts';

/** Ended connections that stay in the list. */
const maxEnded = 100;

export interface ListedConnection extends InspectedConnection {
  readonly ended?: EndedConnection;
}

export interface Connections {
  apply(message: ConnectionsMessage): void;
  /** Forgets all connections: the page has entered again. */
  clear(): void;
  bySerial(serial: number): ListedConnection | undefined;
  select(serial: number | undefined): void;
  redraw(): void;
}

/** The name of the handler, such as `echo`; before the handshake, that of the wire. */
export function titleOf({ handler, wire }: InspectedConnection): string {
  return handler ?? wire;
}

export interface ConnectionsEvents {
  chosen(serial: number): void;
  opened(): void;
}

export function newConnections({ chosen, opened }: ConnectionsEvents): Connections {
  const all = new Map<number, ListedConnection>();
  const find = byId<HTMLInputElement>('find-connection');
  const withHttp = byId<HTMLInputElement>('with-http');
  const empty = byId('no-connections');
  let total = 0;
  const list = newList<ListedConnection>({
    element: byId('connection-list'),
    keyOf: ({ serial }) => serial,
    fill: fillConnection,
    onSelect: ({ serial, isInspector }) => {
      if (isInspector !== true) chosen(serial);
    },
    onOpen: opened,
  });

  const show = (): void => {
    const wanted = find.value.trim().toLowerCase();
    const shown = [...all.values()]
      .filter(one => withHttp.checked || one.wire !== 'http' || one.serial === list.selected())
      .filter(one => wanted === '' || searchText(one).includes(wanted))
      .sort((one, other) => one.serial - other.serial);
    list.show(shown);
    empty.hidden = shown.length > 0;
    setText(empty, wanted === '' ? 'No connections yet.' : 'No connection matches.');
    const open = shown.filter(({ ended }) => ended === undefined).length;
    setText(byId('total'), total > open ? `${open} of ${total.toLocaleString('en')}` : `${open} open`);
  };
  withHttp.addEventListener('change', show);
  find.addEventListener('input', show);

  /** Forgets the connections that ended first. */
  const trim = (): void => {
    const ended = [...all.values()].filter(one => one.ended !== undefined);
    for (const { serial } of ended.slice(0, Math.max(0, ended.length - maxEnded)))
      if (serial !== list.selected()) all.delete(serial);
  };

  return {
    apply(message) {
      for (const one of message.added) all.set(one.serial, one);
      for (const change of message.changed) {
        const known = all.get(change.serial);
        if (known !== undefined) all.set(change.serial, { ...known, ...change });
      }
      for (const ended of message.ended) {
        const known = all.get(ended.serial);
        if (known !== undefined) all.set(ended.serial, { ...known, state: 'ENDED', ended });
      }
      total = message.total;
      trim();
      show();
    },
    clear() {
      all.clear();
      show();
    },
    bySerial: serial => all.get(serial),
    select(serial) {
      list.select(serial);
    },
    redraw: () => list.redraw(),
  };
}

function searchText({
  serial,
  handler = '',
  wire,
  user = '',
  address,
  state,
  faults = [],
}: ListedConnection): string {
  return `#${serial} ${handler} ${wire} ${user} ${address} ${state} ${faults.join(' ')}`.toLowerCase();
}

const stateClasses: Readonly<Record<ConnectionState, string>> = {
  CONNECTING: 'connecting',
  OPEN: 'open',
  CLOSING: 'closing',
  CLOSED: 'closed',
  ENDED: 'ended',
};

function fillConnection(row: HTMLElement, one: ListedConnection): void {
  row.className = `row connection ${stateClasses[one.state]}`;
  if (one.isInspector === true) row.setAttribute('aria-disabled', 'true');
  const first = make('div', 'line');
  first.append(
    make('span', 'dot'),
    make('span', 'serial', `#${one.serial}`),
    make('b', 'name', titleOf(one)),
  );
  if (one.user !== undefined) first.append(make('span', 'user', one.user));
  if (one.workbench !== undefined) first.append(make('span', 'tag', 'workbench'));
  if (one.isInspector === true) first.append(make('span', 'tag', 'inspector'));
  if (one.faults !== undefined && one.faults.length > 0) first.append(make('span', 'tag alarm', 'fault'));
  if (one.isCompressed) first.append(make('span', 'tag', 'deflate'));
  const second = make('div', 'line soft');
  const state = stateText(one);
  if (state !== '') second.append(make('span', '', state));
  second.append(make('span', 'name', one.ended === undefined ? one.address : one.ended.why));
  const numbers = make('span', 'numbers', `${compact(one.messagesIn)} in, ${compact(one.messagesOut)} out`);
  second.append(numbers);
  row.append(first, second);
  row.title = visibleText(one.ended?.why ?? '');
}

function stateText({ state, ended, wire }: ListedConnection): string {
  if (ended?.code !== undefined) return String(ended.code);
  // Other wires have no opening handshake to complete.
  return state === 'CONNECTING' && wire !== 'websocket' ? '' : state.toLowerCase();
}

const compactNumber = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** `12`, `3.4K`. */
function compact(number: number): string {
  return compactNumber.format(number);
}
