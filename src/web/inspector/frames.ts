/** The frames of the watched connection: the list, its filters, and the notice about frames that are not shown. */
import type { FramesMessage, InspectedFrame } from '../../handlers/inspector/messages.ts';
import { byId, counted, setText } from './elements.ts';
import { newList } from './list.ts';
import { contentOf, type FrameRow, fillFrame, previewOf, typeOf } from './rows.ts';

/** Rows that are kept; the oldest are dropped. */
const maxRows = 5_000;
/** Rows beyond that before some are dropped. */
const spareRows = 500;
/** Milliseconds over which the share of shown frames is computed. */
const sampleWindow = 3_000;

/** The choices of the filter by type. */
const kinds: Readonly<Record<string, (frame: InspectedFrame) => boolean>> = {
  'All types': () => true,
  Data: ({ kind, first = 0 }) => kind === 'frame' && (first & 15) < 8,
  Control: ({ kind, first = 0 }) => kind === 'frame' && (first & 15) >= 8,
  Text: frame => typeOf(frame) === 'text',
  Binary: frame => typeOf(frame) === 'binary',
  Continuation: frame => typeOf(frame) === 'continuation',
  Ping: frame => typeOf(frame) === 'ping',
  Pong: frame => typeOf(frame) === 'pong',
  Close: frame => typeOf(frame) === 'close',
  Handshake: ({ kind }) => kind === 'head',
  'Faults and ends': ({ kind }) => kind === 'bytes' || kind === 'fault' || kind === 'end',
};

export interface FramesEvents {
  chosen(row: FrameRow): void;
  opened(): void;
  paused(isPaused: boolean): void;
}

export interface Frames {
  apply(message: FramesMessage): void;
  /** Another connection is watched. */
  begin(): void;
  /** The connection to the server was lost, and is back: the frames have new numbers. */
  beginVisit(): void;
  visit(): number;
  togglePause(): void;
  isPaused(): boolean;
  follow(): void;
  redraw(): void;
}

export function newFrames(events: FramesEvents): Frames {
  const find = byId<HTMLInputElement>('find-frame');
  const kind = byId<HTMLSelectElement>('kind');
  const pauseButton = byId('pause');
  const newest = byId('newest');
  let rows: FrameRow[] = [];
  let shown: FrameRow[] = [];
  let lastKey = 0;
  let visit = 0;
  let isPaused = false;
  /** Rows that arrived since the list stopped following. */
  let unseen = 0;
  let dropped = 0;
  /** The last batches: when, and how many frames were shown and skipped. */
  let batches: { time: number; shown: number; skipped: number }[] = [];

  for (const name of Object.keys(kinds)) kind.append(new Option(name));

  const list = newList<FrameRow>({
    element: byId('frame-list'),
    keyOf: ({ key }) => key,
    fill: fillFrame,
    onSelect: events.chosen,
    onOpen: events.opened,
    onFollow(isFollowing) {
      if (isFollowing) unseen = 0;
      showNewest();
    },
  });

  const showNewest = (): void => {
    newest.hidden = list.isFollowing() || unseen === 0;
    setText(newest, `↓ ${unseen.toLocaleString('en')} new`);
  };
  newest.addEventListener('click', () => list.follow());

  const direction = () => document.querySelector<HTMLInputElement>('input[name=direction]:checked')!.value;

  const newFilter = (): ((row: FrameRow) => boolean) => {
    const wanted = direction();
    const isKind = kinds[kind.value]!;
    const text = find.value.toLowerCase();
    const hasFilter = wanted !== 'both' || kind.selectedIndex > 0 || text !== '';
    return ({ frame, note }) => {
      // Between filtered rows, gaps would be most of the list.
      if (frame === undefined) return !hasFilter || note !== undefined;
      if (wanted !== 'both' && frame.direction !== wanted && frame.kind !== 'end') return false;
      if (!isKind(frame)) return false;
      return (
        text === '' || `${typeOf(frame)} ${contentOf(frame)} ${previewOf(frame)}`.toLowerCase().includes(text)
      );
    };
  };
  let isShown = newFilter();

  const showCounts = (): void => {
    const frames = rows.filter(({ frame }) => frame !== undefined).length;
    const visible = shown.filter(({ frame }) => frame !== undefined).length;
    const parts = [visible < frames ? `${visible} of ${counted(frames, 'row')}` : counted(frames, 'row')];
    if (dropped > 0) parts.push(`${dropped.toLocaleString('en')} older ones were dropped`);
    setText(byId('counts'), parts.join(', '));
    byId('no-frames').hidden = shown.length > 0;
  };

  /** Shows the share of frames that the server sends, while it samples. */
  const showSampled = (): void => {
    const now = Date.now();
    batches = batches.filter(({ time }) => now - time < sampleWindow);
    let seen = 0;
    let skipped = 0;
    for (const batch of batches) {
      seen += batch.shown;
      skipped += batch.skipped;
    }
    const exact = Math.round((seen + skipped) / Math.max(1, seen));
    // In steps: a number that changes with every batch disturbs readers.
    const share = exact > 20 ? 5 * Math.round(exact / 5) : exact;
    let text = '';
    if (isPaused) text = 'Paused';
    else if (skipped > 0)
      text = share > 1 ? `Sampled: 1 of ${share.toLocaleString('en')} frames shown` : 'Sampled';
    setText(byId('sampled'), text);
  };
  setInterval(() => {
    if (batches.length > 0) showSampled();
  }, 1_000);

  const refilter = (): void => {
    isShown = newFilter();
    shown = rows.filter(isShown);
    setText(byId('no-frames'), rows.length === 0 ? 'No frames yet.' : 'No frame matches the filters.');
    list.show(shown);
    showCounts();
  };
  for (const id of ['direction', 'kind']) byId(id).addEventListener('change', refilter);
  find.addEventListener('input', refilter);

  const add = (added: FrameRow[]): void => {
    rows.push(...added);
    const visible = added.filter(isShown);
    shown.push(...visible);
    let droppedRows = 0;
    if (rows.length > maxRows + spareRows) {
      const removed = rows.splice(0, rows.length - maxRows);
      dropped += removed.filter(({ frame }) => frame !== undefined).length;
      const first = rows[0]!.key;
      const cut = shown.findIndex(({ key }) => key >= first);
      droppedRows = cut < 0 ? shown.length : cut;
      shown.splice(0, droppedRows);
    }
    list.show(shown, droppedRows);
    if (!list.isFollowing()) unseen += visible.length;
    showNewest();
    showCounts();
  };

  const empty = (): void => {
    rows = [];
    dropped = 0;
    unseen = 0;
    batches = [];
    list.select(undefined);
    refilter();
    showSampled();
    list.follow();
    showNewest();
  };

  const togglePause = (): void => {
    isPaused = !isPaused;
    pauseButton.setAttribute('aria-pressed', String(isPaused));
    setText(pauseButton, isPaused ? 'Resume' : 'Pause');
    batches = [];
    showSampled();
    events.paused(isPaused);
  };
  pauseButton.addEventListener('click', togglePause);
  byId('clear').addEventListener('click', empty);

  return {
    apply({ frames, skipped }) {
      const added: FrameRow[] = [];
      if (skipped > 0) {
        // Gaps that follow each other are one row.
        const last = rows.at(-1)?.skipped === undefined ? undefined : rows.pop()!;
        if (last !== undefined && shown.at(-1) === last) shown.pop();
        added.unshift({ key: last?.key ?? ++lastKey, skipped: (last?.skipped ?? 0) + skipped, visit });
      }
      for (const frame of frames) added.push({ key: ++lastKey, frame, visit });
      batches.push({ time: Date.now(), shown: frames.length, skipped });
      add(added);
      showSampled();
    },
    begin: empty,
    beginVisit() {
      visit++;
      if (rows.length > 0)
        add([{ key: ++lastKey, note: 'The inspector was disconnected: frames are missing here', visit }]);
    },
    visit: () => visit,
    togglePause,
    isPaused: () => isPaused,
    follow: () => list.follow(),
    redraw: () => list.redraw(),
  };
}
