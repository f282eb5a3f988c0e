/** Reads the scripts in the folder of `--script`, at the start and at every reload. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { quoted, UsageError } from '../../options/error.ts';
import { whyUnreadable } from '../../options/file.ts';
import { readText } from '../../options/text.ts';
import { maxScriptFile, maxScripts } from '../../protocol/scriptLimits.ts';
import { parseScript } from '../../scripts/parse.ts';
import { checkPlayable } from '../../scripts/playable.ts';
import type { Script } from '../../scripts/script.ts';

export type Scripts = ReadonlyMap<string, Script>;

/** The file extension of scripts. */
const suffix = '.txt';

/** A name that needs no percent-encoding in a URL. */
const validName = /^[\w-]{1,100}$/;

/**
 * Reads all `*.txt` files of the folder. The name of a script is that of its file.
 * @throws UsageError for an unreadable folder or file, and for the first mistake in a script
 */
export function readScripts(folder: string): Scripts {
  const files = listFolder(folder).filter(file => file.endsWith(suffix) && !file.startsWith('.'));
  if (files.length === 0) throw new UsageError(`--script: ${folder} has no scripts; name them NAME${suffix}`);
  if (files.length > maxScripts)
    throw new UsageError(`--script: ${folder} has ${files.length} scripts; the limit is ${maxScripts}`);
  return new Map(
    files.toSorted().map(file => {
      const text = readFile(join(folder, file));
      const script = readScript(file.slice(0, -suffix.length), text, file);
      return [script.name, script];
    }),
  );
}

/** @param label the name of the script in errors, such as its file @throws UsageError that names the line */
export function readScript(name: string, text: string, label = name): Script {
  if (!validName.test(name))
    throw new UsageError(`${label}: the name of a script has only letters, digits, _ and -; rename it`);
  const script = parseScript(label, text);
  checkPlayable(script, 'server');
  return { ...script, name };
}

function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    throw unreadable(folder, error);
  }
}

function readFile(path: string): string {
  try {
    const { size } = statSync(path);
    if (size > maxScriptFile)
      throw new UsageError(`${path} has ${size} bytes; a script has at most ${maxScriptFile}`);
    return readText(path, readFileSync(path));
  } catch (error) {
    throw error instanceof UsageError ? error : unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): UsageError {
  return new UsageError(`--script: cannot read ${quoted(path)}: ${whyUnreadable(error)}`);
}
