/**
 * A JSON parser (RFC 8259) whose errors have a position. `JSON.parse` of Node 20 gives none for many errors, and accepts
 * duplicate keys.
 */
import { maxJsonEntries } from '../protocol/limits.ts';

/** Line and column count from 1; columns are characters. */
export class JsonError extends Error {
  readonly line: number;
  readonly column: number;

  constructor(message: string, text: string, at: number) {
    super(message);
    this.name = 'JsonError';
    const before = text.slice(0, at).split('\n');
    this.line = before.length;
    this.column = [...before.at(-1)!].length + 1;
  }
}

/** Whether a JSON value is an object, not a list. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const space = /[ \t\n\r]*/y;
const string = /"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const scalar = /(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![\w.+-])/y;

/** Depth of nesting. No option needs more than a few levels. */
const maxDepth = 20;

/** @throws JsonError */
export function readJson(text: string): unknown {
  let at = 0;

  /** Consumes the match of `pattern` at this position; undefined if there is none. */
  function take(pattern: RegExp): string | undefined {
    pattern.lastIndex = at;
    const [found] = pattern.exec(text) ?? [];
    at += found?.length ?? 0;
    return found;
  }

  function skip(character: string): boolean {
    take(space);
    if (text[at] !== character) return false;
    at++;
    return true;
  }

  function unexpected(wanted: string): JsonError {
    take(space);
    const [found] = text.slice(at);
    const instead = found === undefined ? 'the end' : JSON.stringify(found);
    return new JsonError(`expected ${wanted}, not ${instead}`, text, at);
  }

  function readValue(depth: number): unknown {
    if (depth > maxDepth)
      throw new JsonError(`values are nested more than ${maxDepth} levels deep`, text, at);
    if (skip('{')) return readObject(depth);
    if (skip('[')) return readList(depth);
    const token = take(string) ?? take(scalar);
    if (token === undefined) throw unexpected('a value');
    return JSON.parse(token);
  }

  function readObject(depth: number): object {
    const entries = new Map<string, unknown>();
    if (skip('}')) return {};
    do {
      take(space);
      const keyAt = at;
      const token = take(string);
      if (token === undefined) throw unexpected('a name in double quotes');
      const key = JSON.parse(token) as string;
      if (entries.size === maxJsonEntries)
        throw new JsonError(`an object has more than ${maxJsonEntries} names`, text, keyAt);
      if (entries.has(key)) throw new JsonError(`${token} is given twice; keep one`, text, keyAt);
      if (!skip(':')) throw unexpected('a colon');
      entries.set(key, readValue(depth + 1));
    } while (skip(','));
    if (!skip('}')) throw unexpected('a comma or a closing brace');
    return Object.fromEntries(entries);
  }

  function readList(depth: number): unknown[] {
    const values: unknown[] = [];
    if (skip(']')) return values;
    do {
      if (values.length === maxJsonEntries)
        throw new JsonError(`a list has more than ${maxJsonEntries} values`, text, at);
      values.push(readValue(depth + 1));
    } while (skip(','));
    if (!skip(']')) throw unexpected('a comma or a closing bracket');
    return values;
  }

  const value = readValue(0);
  take(space);
  if (at < text.length) throw unexpected('the end');
  return value;
}
