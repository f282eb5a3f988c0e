/**
 * The handler `replay`: plays the server's side of the recording NAME against each client of `/replay/NAME`. Recordings and HAR
 * files are in the folder of `--replay` or, without it, of `--record`. The handler needs `--faults`: recordings are not public.
 */
import { readFileSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { speed } from '../options/values.ts';
import { ProtocolError } from '../protocol/codes.ts';
import type { Head } from '../protocol/http/head.ts';
import { maxServedRecording, maxServedRecordings } from '../protocol/recordingLimits.ts';
import { parseHar } from '../recordings/har.ts';
import {
  isRecordingName,
  parseRecording,
  type Recording,
  recordingExtension,
} from '../recordings/recording.ts';
import { toScript } from '../recordings/toScript.ts';
import type { Handler, Server } from '../records/records.ts';
import { checkPlayable } from '../scripts/playable.ts';
import type { Script } from '../scripts/script.ts';
import { beginScript, heldByScript, stopScript } from './scripts/play.ts';

/** The sessions of a file. A different `stamp` means that the file has changed. */
interface ReadFile {
  readonly stamp: string;
  readonly sessions: readonly Recording[];
}

export function newReplayHandler(server: Server): Handler {
  /** Files by path, the most recently used last. */
  const known = new Map<string, ReadFile>();
  /** The last script, because each handshake asks for it several times. */
  let last: { readonly recording: Recording; readonly speed: number; readonly script: Script } | undefined;

  function find({ path, query }: Head): Script {
    const { faults, replay, record } = server.configuration;
    if (!faults)
      throw new ProtocolError(404, 'this server does not replay recordings; start it with --faults');
    const [, , name = '', ...more] = path.split('/');
    const folder = replay === '' ? record : replay;
    const recording =
      more.length > 0 || folder === '' || !isRecordingName(name) ? undefined : recordingIn(folder, name);
    if (recording === undefined) throw new ProtocolError(404, 'no recording of this name');
    const chosen = speedOf(query);
    if (last?.recording === recording && last.speed === chosen) return last.script;
    const script = toScript(recording, chosen);
    try {
      checkPlayable(script, 'server');
    } catch (error) {
      throw new ProtocolError(422, `this recording cannot be replayed: ${(error as Error).message}`);
    }
    last = { recording, speed: chosen, script };
    return script;
  }

  /** @throws ProtocolError 413, 422 */
  function recordingIn(folder: string, name: string): Recording | undefined {
    const [recording] = sessionsOf(join(folder, name + recordingExtension), name, text => [
      parseRecording(name, text),
    ]);
    if (recording !== undefined) return recording;
    const [, file = '', number = '1'] = /^(.+?)(?:-(\d{1,3}))?$/.exec(name) ?? [];
    const read = (one: string) => sessionsOf(join(folder, `${one}.har`), one, text => parseHar(one, text));
    return read(name)[0] ?? read(file)[Number(number) - 1];
  }

  function sessionsOf(
    path: string,
    name: string,
    parse: (text: string) => Recording[],
  ): readonly Recording[] {
    const stats: Stats | undefined = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined || !stats.isFile()) return [];
    if (stats.size > maxServedRecording)
      throw new ProtocolError(413, `the recording ${name} is too long for a server to replay`);
    const stamp = `${stats.mtimeMs} ${stats.size}`;
    let file = known.get(path);
    known.delete(path);
    if (file?.stamp !== stamp)
      file = { stamp, sessions: parseOrThrow(name, () => parse(readFileSync(path, 'utf8'))) };
    known.set(path, file);
    const [oldest] = known.keys();
    if (known.size > maxServedRecordings) known.delete(oldest!);
    return file.sessions;
  }

  return {
    name: 'replay',
    isOff: ({ faults }) => !faults,
    subprotocols(head) {
      const { subprotocol } = find(head);
      return subprotocol === undefined ? [] : [subprotocol.token];
    },
    admit(_, head) {
      find(head);
    },
    opened(connection, head) {
      if (head !== undefined) beginScript(connection, find(head), head);
    },
    message() {},
    closed: stopScript,
    held: heldByScript,
  };
}

/** @throws ProtocolError 422 that names the line */
function parseOrThrow(name: string, parse: () => Recording[]): Recording[] {
  try {
    return parse();
  } catch (error) {
    throw new ProtocolError(422, `the recording ${name} cannot be read: ${(error as Error).message}`);
  }
}

/** The parameter `speed` of a URL's query. @throws ProtocolError 400 */
function speedOf(query: string): number {
  const read = speed.parse(new URLSearchParams(query).get('speed') ?? '1');
  if (read === undefined) throw new ProtocolError(400, `speed must be ${speed.expected}`);
  return read;
}
