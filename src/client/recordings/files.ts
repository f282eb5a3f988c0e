/** The files that `--replay` names: recordings, folders of recordings, and HAR files. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { quoted, UsageError } from '../../options/error.ts';
import { size } from '../../options/values.ts';
import { maxReplayFile } from '../../protocol/recordingLimits.ts';
import { parseHar } from '../../recordings/har.ts';
import { parseRecording, type Recording, recordingExtension } from '../../recordings/recording.ts';

/** @throws UsageError that names the file and the line */
export function readRecordings(paths: readonly string[]): Recording[] {
  const recordings = paths.flatMap(path => readPath(path));
  if (recordings.length === 0)
    throw new UsageError(`--replay found no recording (*${recordingExtension}) in ${paths.join(', ')}`);
  return recordings;
}

function readPath(path: string): Recording[] {
  try {
    if (!statSync(path).isDirectory()) return readFile(path);
    const names = readdirSync(path).filter(name => name.endsWith(recordingExtension));
    return names.sort().flatMap(name => readFile(join(path, name)));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`--replay ${quoted(path)}: ${(error as Error).message}`);
  }
}

function readFile(path: string): Recording[] {
  const bytes = statSync(path).size;
  if (bytes > maxReplayFile)
    throw new UsageError(`--replay ${quoted(path)}: it is longer than ${size.show(maxReplayFile)}`);
  const text = readFileSync(path, 'utf8');
  const name = basename(path).replace(/\.(jsonl|har)$/, '');
  try {
    return /^\s*\{\s*"log"/.test(text.slice(0, 1000)) ? parseHar(name, text) : [parseRecording(name, text)];
  } catch (error) {
    throw new UsageError(`--replay ${quoted(path)}: ${(error as Error).message}`);
  }
}
