/** The results, as Markdown for the README and as JSON. */
import type { Sample } from './jobs.ts';
import type { Row } from './rows.ts';
import { type Contender, serves } from './servers/contenders.ts';

export interface Results {
  /** YYYY-MM-DD */
  readonly date: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly rows: readonly Row[];
  readonly contenders: readonly Contender[];
  /** By the contender's key, for those that could run. */
  readonly versions: ReadonlyMap<string, string>;
  /** The reasons of the servers that cannot run. */
  readonly missing: ReadonlyMap<string, string>;
  /** One sample a round, by `cellKey`. */
  readonly samples: ReadonlyMap<string, readonly Sample[]>;
}

export function cellKey(row: Pick<Row, 'key'>, contender: Pick<Contender, 'key'>): string {
  return `${row.key} ${contender.key}`;
}

/** The servers that Pollywog is compared with, in the tables of their rows. */
const peers = ['ws', 'nchan'] as const;

/** A table of the rows without channels, a table of the rows with channels, and the notes for both. */
export function markdown(results: Results): string {
  const isOfChannels = ({ service }: Row) => service === 'channels';
  const groups = [results.rows.filter(row => !isOfChannels(row)), results.rows.filter(isOfChannels)];
  const tables = groups.filter(rows => rows.length > 0).map(rows => tablesOf({ ...results, rows }));
  const versions = results.contenders.flatMap(({ key, title }) => {
    const version = results.versions.get(key);
    return version === undefined || key === 'net' ? [] : [`${title} ${version}`];
  });
  const { date, rounds, seconds } = results;
  const parts = [
    ...tables.map(({ medians }) => medians),
    `The server's own CPU µs a message (user and system, all threads), unless the row says otherwise; the smaller the ` +
      `better. Median of ${rounds} interleaved round${rounds === 1 ? '' : 's'} of ${seconds} s. ` +
      `${[...versions, `Node ${process.versions.node}`].join(', ')}, ${date}.`,
  ];
  for (const { key, title } of results.contenders) {
    const why = results.missing.get(key);
    if (why !== undefined) parts.push(`Without ${title}: ${why}.`);
  }
  if (rounds > 1) parts.push('Lowest to highest:', ...tables.map(({ spreads }) => spreads));
  return `${parts.join('\n\n')}\n`;
}

/** The tables of rows for the same servers: the medians, with the ratio to the peer, and the spreads. */
function tablesOf(results: Results): { medians: string; spreads: string } {
  const contenders = results.contenders.filter(one => results.rows.some(row => serves(one, row.service)));
  const titles = contenders.map(contender => contender.title);
  const has = (key: string) => contenders.some(contender => contender.key === key);
  const peer = has('pollywog') ? peers.find(has) : undefined;
  const medians = results.rows.map(row => {
    const cells = contenders.map(contender => median(figures(results, row, contender)));
    const byKey = new Map(contenders.map((contender, i) => [contender.key, cells[i]]));
    const quotient = (byKey.get('pollywog') ?? Number.NaN) / (byKey.get(peer ?? '') ?? Number.NaN);
    const last = peer === undefined ? [] : [Number.isNaN(quotient) ? '' : quotient.toFixed(2)];
    return [row.title, ...cells.map(cell => (cell === undefined ? '' : format(cell))), ...last];
  });
  const spreads = results.rows.map(row => [
    row.title,
    ...contenders.map(contender => spread(figures(results, row, contender))),
  ]);
  return {
    medians: table(['work', ...titles, ...(peer === undefined ? [] : [`pollywog/${peer}`])], medians),
    spreads: table(['work', ...titles], spreads),
  };
}

export function json(results: Results): string {
  const rows = results.rows.map(row => ({
    key: row.key,
    title: row.title,
    servers: Object.fromEntries(
      results.contenders.flatMap(contender => {
        const samples = results.samples.get(cellKey(row, contender));
        if (samples === undefined) return [];
        return [[contender.key, { median: median(figures(results, row, contender)), samples }]];
      }),
    ),
  }));
  const { date, rounds, seconds } = results;
  const versions = { ...Object.fromEntries(results.versions), node: process.versions.node };
  const missing = Object.fromEntries(results.missing);
  return `${JSON.stringify({ date, rounds, seconds, versions, missing, rows }, null, 2)}\n`;
}

/** This build against another: the median of the rounds' ratios and its 95% confidence interval. */
export function comparison(results: Results): string {
  const [base, ours] = results.contenders;
  const body = results.rows.map(row => {
    const [before, after] = [figures(results, row, base!), figures(results, row, ours!)];
    const ratios = after.map((figure, round) => figure / before[round]!);
    const [low, high] = medianInterval(ratios);
    const cells = [median(before), median(after)].map(figure => (figure === undefined ? '' : format(figure)));
    return [
      row.title,
      ...cells,
      (median(ratios) ?? Number.NaN).toFixed(3),
      `${low.toFixed(3)}..${high.toFixed(3)}`,
    ];
  });
  return `${table(['work', base!.title, ours!.title, 'ratio', '95% interval'], body)}\n`;
}

/**
 * The 95% confidence interval of the median for any distribution (by the sign test). For fewer than 6 values: the smallest
 * and the largest.
 */
export function medianInterval(values: readonly number[]): [low: number, high: number] {
  const sorted = values.toSorted((a, b) => a - b);
  const count = sorted.length;
  // Omits values on either side while the probability of so few heads among `count` coins is below 2.5%.
  let probability = 0.5 ** count;
  let left = 0;
  for (let sum = probability; left < count / 2; left++) {
    probability *= (count - left) / (left + 1);
    sum += probability;
    if (sum > 0.025) break;
  }
  return [sorted[left] ?? Number.NaN, sorted[count - 1 - left] ?? Number.NaN];
}

/** @returns the median; for an even count, the mean of the middle two; undefined without values */
export function median(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  return upper === undefined || lower === undefined ? undefined : (lower + upper) / 2;
}

/** Two significant digits: more than that is noise. */
export function format(figure: number): string {
  if (figure === 0) return '0';
  const decimals = Math.max(0, 1 - Math.floor(Math.log10(Math.abs(figure))));
  return figure.toFixed(decimals);
}

function spread(values: readonly number[]): string {
  if (values.length === 0) return '';
  const [low, high] = [format(Math.min(...values)), format(Math.max(...values))];
  return low === high ? low : `${low}..${high}`;
}

function figures(results: Results, row: Row, contender: Contender): number[] {
  return (results.samples.get(cellKey(row, contender)) ?? []).map(sample => sample.figure);
}

function table(head: readonly string[], body: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = `|---|${'--:|'.repeat(head.length - 1)}`;
  return [line(head), rule, ...body.map(line)].join('\n');
}
