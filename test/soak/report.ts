/** The soak's result: a table and a list of faults. */
import { MiB, type ThreadTime } from '../support/processState.ts';
import { type Figures, showFigures } from './figures.ts';
import type { LoadCounts } from './generators.ts';
import type { InnocentReport } from './innocent.ts';
import type { Info } from './place.ts';
import type { Remains } from './remains.ts';

export interface Outcome {
  readonly seconds: number;
  /** The highest resident memory of 100 ms samples; bytes. */
  readonly memory: number;
  readonly controlMemory: number;
  /** Seconds from the start to that sample. */
  readonly peakAt: number;
  readonly innocent: InnocentReport;
  readonly control: InnocentReport;
  /** The time of the server's main thread under load. The server adds to delays only while it runs; undefined if it had ended. */
  readonly thread: ThreadTime | undefined;
  readonly loads: readonly LoadCounts[];
  /** The budget, in MiB. */
  readonly maxMemory: number;
  /** At the end of the load; undefined if the server had ended. */
  readonly info: Info | undefined;
  readonly remains: Remains;
  /** The exit codes of the server under load and of the quiet one; null after a signal. */
  readonly exits: readonly (number | null)[];
  /** Sentences about other faults. */
  readonly faults: readonly string[];
}

/** @param maxMemory the budget, in MiB */
export const memoryBar = (maxMemory: number) => (1.25 * maxMemory + 128) * MiB;

/** The limits for the p99 of an innocent client's echoes and of new clients, in milliseconds. */
export const echoBar = 25;
export const newcomerBar = 1000;

/** Above this, the machine is busy with other work than the soak. */
const idleBar = 10;

/** @returns sentences about faults, except delays */
export function faultsOf(outcome: Outcome): string[] {
  const { memory, innocent, control, loads, remains, exits } = outcome;
  const faults = [...outcome.faults, ...remains.left];
  const most = memoryBar(outcome.maxMemory);
  if (memory > most) faults.push(`the memory rose to ${show(memory)}, over ${show(most)}`);
  for (const [whose, { lost, missing, failures }] of [
    ['the innocent client', innocent],
    ["the quiet server's client", control],
  ] as const) {
    if (lost !== undefined) faults.push(`${whose} was disconnected: ${lost}`);
    if (missing > 100) faults.push(`${missing} messages of ${whose} are not back`);
    for (const [why, times] of Object.entries(failures)) {
      faults.push(`a newcomer beside ${whose}: ${why} (${times} times)`);
    }
  }
  for (const { load, done, refused, closed } of loads) {
    if (done === 0) faults.push(`the load "${load.name}" did nothing`);
    if (load.isHarmless && refused + closed > 0) {
      faults.push(`"${load.name}" does no harm, but was refused ${refused} times and closed ${closed} times`);
    }
  }
  const [ownExit, controlExit] = exits;
  if (ownExit !== 0) faults.push(`the server ended with ${ownExit} at SIGTERM`);
  if (controlExit !== 0) faults.push(`the quiet server ended with ${controlExit} at SIGTERM`);
  return faults;
}

/** The part of the time that the server's thread waited for a processor, while it had something to do. */
const waitingShare = ({ ran, waited }: ThreadTime) => waited / Math.max(1, ran + waited);

/** Above this, the loads and other programs of the machine delay the server itself. */
const waitingBar = 0.05;

/** @returns sentences about delays */
export function delaysOf({ innocent, control, thread }: Outcome): string[] {
  const delays: string[] = [];
  const { echo, newcomers } = innocent;
  if (echo.p99 >= echoBar)
    delays.push(`the innocent client's p99 is ${echo.p99.toFixed(1)} ms, not under ${echoBar}`);
  if (newcomers.p99 >= newcomerBar)
    delays.push(`the newcomers' p99 is ${newcomers.p99.toFixed(0)} ms, not under ${newcomerBar}`);
  if (delays.length > 0 && control.echo.p99 > idleBar) {
    delays.push(
      `(the machine is not idle: the p99 beside the quiet server is ${control.echo.p99.toFixed(1)} ms)`,
    );
  }
  if (delays.length > 0 && thread !== undefined && waitingShare(thread) > waitingBar) {
    delays.push(`(the server waited for a processor in ${percent(waitingShare(thread))} of its time)`);
  }
  return delays;
}

const percent = (share: number) => `${(100 * share).toFixed(0)}%`;

export function showOutcome(outcome: Outcome): string {
  const { seconds, memory, controlMemory, peakAt, innocent, control, thread, loads, info, remains } = outcome;
  const figures = (what: Figures) => `${showFigures(what)} (${what.count})`;
  const rows = [
    [`${seconds} s`, 'under load', 'quiet'],
    ['highest resident memory', `${show(memory)} (after ${peakAt.toFixed(0)} s)`, show(controlMemory)],
    ['echo every 10 ms: p50 / p99 / max, ms', figures(innocent.echo), figures(control.echo)],
    ['newcomers: p50 / p99 / max, ms', figures(innocent.newcomers), figures(control.newcomers)],
    [
      'time in which the server waited for a processor',
      thread === undefined ? '?' : percent(waitingShare(thread)),
      '',
    ],
    ['closed to free memory', `${info?.counters['evicted'] ?? '?'}`, ''],
    [
      'everything given back after',
      remains.left.length > 0 ? 'never' : `${remains.seconds.toFixed(1)} s`,
      '',
    ],
  ];
  const loadRows = loads.map(({ load, done, refused, closed }) => [
    `${load.name}: ${load.unit}`,
    `${done}`,
    `${refused}`,
    `${closed}`,
  ]);
  return `${table(rows)}\n\n${table([['load', 'done', 'refused', 'closed'], ...loadRows])}`;
}

const show = (bytes: number) => `${(bytes / MiB).toFixed(0)} MiB`;

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ');
  return rows.map(row => line(row).trimEnd()).join('\n');
}
