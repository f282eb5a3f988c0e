/**
 * The syntax of faults: `close=1011 after=3` in an option and in a command, `close=1011&after=3` in a URL.
 *
 * Each word is a fault with or without its value, a further parameter of an earlier fault (`reason=TEXT` after `close`), or a
 * common word. The first `after`, `chance`, `times` or `seed` applies to all faults, a later one to the faults after it.
 */
import { invalidValue, nearest, quoted, UsageError } from '../../options/error.ts';
import type { Kind } from '../../options/values.ts';
import { maxFaults, maxFaultText } from '../../protocol/faultLimits.ts';
import { type FaultKind, type FaultPlan, type FaultSetting, stages } from './fault.ts';
import { wholeNumber } from './parameters.ts';
import { faults } from './table.ts';

const probability: Kind<number> = {
  placeholder: 'P',
  expected: 'a probability from 0 to 1, such as 0.01',
  parse: raw => (/^(?:[01]|0?\.\d{1,9}|1\.0{1,9})$/.test(String(raw)) ? Number(raw) : undefined),
  show: String,
};

/** The words that every fault understands. */
export const commonWords = {
  after: {
    kind: wholeNumber(0, 1_000_000_000),
    help: 'acts after this many messages of the server (1; by command 0)',
  },
  chance: { kind: probability, help: 'acts with this probability each time (1)' },
  times: { kind: wholeNumber(1, 1_000_000_000), help: 'acts at most this many times' },
  seed: { kind: wholeNumber(0, 2 ** 32 - 1), help: 'repeats the random numbers of an earlier run' },
} as const;
type CommonWord = keyof typeof commonWords;

/** A fault whose words are being read. */
interface Draft {
  readonly kind: FaultKind;
  readonly values: Record<string, unknown>;
  readonly given: Set<string>;
  readonly words: string[];
  /** The common words before the fault. */
  readonly common: Map<CommonWord, number>;
}

/**
 * @param words each `NAME` or `NAME=VALUE`
 * @param defaultAfter the default of `after`
 * @throws UsageError, a sentence
 */
export function parseFaults(words: readonly string[], defaultAfter: number): FaultPlan {
  const drafts: Draft[] = [];
  const common = new Map<CommonWord, number>();
  /** The first value of each common word; it also applies to earlier faults. */
  const first = new Map<CommonWord, number>();
  for (const word of words) {
    const [name, value] = splitWord(word);
    if (Object.hasOwn(commonWords, name)) {
      const key = name as CommonWord;
      const parsed = parseValue(name, commonWords[key].kind, value);
      common.set(key, parsed);
      if (!first.has(key)) first.set(key, parsed);
    } else {
      readWord(drafts, common, name === 'fault' ? splitWord(value ?? '') : [name, value]);
    }
    if (drafts.length > maxFaults)
      throw new UsageError(`a connection has at most ${maxFaults} faults; give fewer`);
  }
  const settings = drafts.map(draft => settingOf(draft, first, defaultAfter));
  settings.sort((a, b) => positionOf(a) - positionOf(b));
  return { settings, seed: first.get('seed') };
}

/** By stage, and within a stage in the order of the table: `data-after-close` sees the frame of `close`. */
function positionOf({ kind }: FaultSetting): number {
  return stages.indexOf(kind.stage) * faults.size + [...faults.values()].indexOf(kind);
}

function splitWord(word: string): [string, string | undefined] {
  const at = word.indexOf('=');
  return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
}

/** Begins a fault, or sets a parameter of an earlier one. */
function readWord(
  drafts: Draft[],
  common: ReadonlyMap<CommonWord, number>,
  [name, value]: [string, string | undefined],
): void {
  const kind = faults.get(name);
  if (kind !== undefined) {
    const draft: Draft = { kind, values: {}, given: new Set(), words: [], common: new Map(common) };
    for (const [parameter, { default: usual }] of Object.entries(kind.parameters))
      draft.values[parameter] = usual;
    if (kind.isSingle && drafts.some(draft => draft.kind === kind))
      throw new UsageError(`a connection can have the fault ${name} only once; remove the other`);
    drafts.push(draft);
    // `?reset` and `?reset=` are the same.
    if (value === undefined || value === '') draft.words.push(name);
    else setParameter(draft, name, value);
    return;
  }
  const owner = drafts.findLast(({ kind }) => Object.hasOwn(kind.parameters, name));
  if (owner !== undefined) return setParameter(owner, name, value);
  const needed = [...faults.values()].find(({ parameters }) => Object.hasOwn(parameters, name));
  if (needed !== undefined)
    throw new UsageError(`${name} is a parameter of the fault ${needed.name}; write it after ${needed.name}`);
  const likely = nearest(name, [...faults.keys(), ...Object.keys(commonWords)]);
  const advice = likely === undefined ? 'pollywog help faults lists them' : `did you mean ${likely}?`;
  throw new UsageError(`unknown fault ${quoted(name)}; ${advice}`);
}

function setParameter({ kind, values, given, words }: Draft, name: string, value: string | undefined): void {
  const parameter = kind.parameters[name];
  if (parameter === undefined) throw new UsageError(`the fault ${name} takes no value; remove it`);
  if (given.has(name)) throw new UsageError(`${name} is given twice for the fault ${kind.name}; keep one`);
  given.add(name);
  values[name] = parseValue(name, parameter.kind, value);
  words.push(`${name}=${parameter.kind.show(values[name])}`);
}

function parseValue<T>(name: string, kind: Kind<T>, value: string | undefined): T {
  const parsed = kind.parse(value);
  if (parsed === undefined) throw invalidValue(name, kind.expected, value);
  return parsed;
}

function settingOf(draft: Draft, first: ReadonlyMap<CommonWord, number>, defaultAfter: number): FaultSetting {
  const { kind, values, words, common } = draft;
  const get = (name: CommonWord) => common.get(name) ?? first.get(name);
  const shown = (['after', 'chance', 'times'] as const).flatMap(name =>
    get(name) === undefined ? [] : [`${name}=${get(name)}`],
  );
  return {
    kind,
    values,
    after: get('after') ?? defaultAfter,
    chance: get('chance') ?? 1,
    times: get('times') ?? Number.POSITIVE_INFINITY,
    words: [...words, ...shown].join(' ').slice(0, maxFaultText),
  };
}

/** The words of a URL's query. @throws UsageError */
export function queryWords(query: string): string[] {
  return query
    .split('&')
    .filter(part => part !== '')
    .map(part => {
      try {
        return decodeURIComponent(part);
      } catch {
        throw new UsageError(`${quoted(part)} is not percent-encoded UTF-8`);
      }
    });
}
