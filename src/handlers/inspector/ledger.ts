/**
 * Rules of the ledger, with their lines in the source. `make ledger` writes the table. Markers in the installed source give the
 * lines, so neither becomes outdated.
 */
import { readFileSync } from 'node:fs';
import { excerptLines } from '../../protocol/inspectorLimits.ts';
import type { ExplainedRule, RulePlace } from './messages.ts';

/** A rule in the table. `places` has one element for each marker, in the order of the lines of each file. */
export interface LedgerRule {
  readonly section: string;
  readonly who: string;
  readonly statement: string;
  readonly places: readonly (readonly [file: string, name: string])[];
  readonly reason?: string;
}

export type Ledger = Readonly<Record<string, LedgerRule>>;

let table: Ledger | undefined;
const sources = new Map<string, readonly string[] | undefined>();

/** Read with the first explanation. */
export function ledger(): Ledger {
  table ??= JSON.parse(readFileSync(new URL('../../explain/ledger.json', import.meta.url), 'utf8')) as Ledger;
  return table;
}

/** @returns the rules by id, without unknown ids */
export function rulesOf(ids: readonly string[]): Record<string, ExplainedRule> {
  const known = ids.filter(id => Object.hasOwn(ledger(), id));
  return Object.fromEntries(known.map(id => [id, ruleOf(id, ledger()[id]!)]));
}

function ruleOf(id: string, { section, who, statement, places, reason }: LedgerRule): ExplainedRule {
  const found = new Map<string, number>();
  return {
    ...{ section, who, statement },
    places: places.map(([file, name]) => {
      const line = markerLine(file, id, found.get(file) ?? 0);
      if (line !== undefined) found.set(file, line);
      return placeOf(file, name, line);
    }),
    ...(reason === undefined ? {} : { reason }),
  };
}

/** @param after the line of the marker before it, from 1; 0: none @returns the line, from 1; undefined without the source */
function markerLine(file: string, id: string, after: number): number | undefined {
  const marker = new RegExp(
    String.raw`\[(?:[^\]\s]+, )*${id.replaceAll('.', String.raw`\.`)}(?:, [^\]\s]+)*\]`,
  );
  const index = sourceOf(file)?.findIndex((line, at) => at >= after && marker.test(line)) ?? -1;
  return index < 0 ? undefined : index + 1;
}

function placeOf(file: string, name: string, line: number | undefined): RulePlace {
  const lines = sourceOf(file);
  if (line === undefined || lines === undefined) return { file, name };
  const excerptLine = Math.max(1, line - 2);
  const excerpt = lines.slice(excerptLine - 1, excerptLine - 1 + excerptLines).join('\n');
  return { file, name, line, excerpt, excerptLine };
}

/** The lines of a source file; undefined if the package was installed without its sources. */
function sourceOf(file: string): readonly string[] | undefined {
  if (!sources.has(file)) sources.set(file, readSource(file));
  return sources.get(file);
}

/** The sources are beside dist/, and two levels above the folder in which tests are built. */
function readSource(file: string): readonly string[] | undefined {
  for (const root of ['../../../', '../../../../']) {
    try {
      return readFileSync(new URL(root + file, import.meta.url), 'utf8').split('\n');
    } catch {
      // Try the next folder.
    }
  }
  return undefined;
}
