/** `--record`: writes the session to a file, in the server's format (recordings/recording.ts), without credentials. */
import { closeSync, constants, fchmodSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { extname } from 'node:path';
import { quoted, UsageError } from '../../options/error.ts';
import { size } from '../../options/values.ts';
import { defaultRecordMax } from '../../protocol/recordingLimits.ts';
import { decode, newSessionDecoder } from '../../recordings/decoder.ts';
import { type RecordedEvent, type Side, showEvent, showHeader } from '../../recordings/recording.ts';
import { addEvent, newRedactor } from '../../recordings/redactor.ts';
import { redactUrl } from '../../recordings/secrets.ts';

export interface SessionRecorder {
  /** Records bytes of the connection, after TLS. Copies them. */
  observe(from: Side, bytes: Uint8Array): void;
  /** The connection has ended. */
  end(why: string): void;
}

/**
 * Creates the file, or empties it. Its mode is 0600.
 * @param url of the server
 * @param count 1 for the first connection; later ones append the number to the file's name
 * @throws UsageError
 */
export function openSessionRecorder(
  path: string,
  hasCredentials: boolean,
  url: string,
  count: number,
): SessionRecorder {
  const file = openFile(count === 1 ? path : numbered(path, count));
  const wallClock = Math.floor(performance.timeOrigin + performance.now());
  const since = wallClock - performance.timeOrigin;
  let written = 0;
  let isCut = false;
  const write = (line: string) => {
    try {
      written += writeSync(file, line);
    } catch (error) {
      isCut = true;
      process.stderr.write(`pollywog-client: the recording is incomplete: ${(error as Error).message}\n`);
    }
  };
  const record = (event: RecordedEvent) => {
    if (isCut) return;
    const line = showEvent(event);
    isCut = written + Buffer.byteLength(line) > defaultRecordMax;
    const why = `a recording is at most ${size.show(defaultRecordMax)} long`;
    write(isCut ? showEvent({ kind: 'cut', at: event.at, why }) : line);
  };
  const redactor = newRedactor(hasCredentials, record);
  const decoder = newSessionDecoder(event => addEvent(redactor, event));
  const shown = hasCredentials ? url : redactUrl(url);
  write(showHeader({ time: new Date(wallClock).toISOString(), side: 'client', url: shown }));
  return {
    observe(from, bytes) {
      decode(decoder, from, bytes, 0, bytes.length, performance.now() - since);
    },
    end(why) {
      const by = why === '' ? 'client' : 'server';
      addEvent(redactor, { kind: 'end', at: performance.now() - since, by, why });
      closeSync(file);
    },
  };
}

function numbered(path: string, count: number): string {
  const extension = extname(path);
  return `${path.slice(0, path.length - extension.length)}-${count}${extension}`;
}

function openFile(path: string): number {
  try {
    const { O_WRONLY, O_CREAT, O_NOFOLLOW } = constants;
    const file = openSync(path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0o600);
    fchmodSync(file, 0o600);
    ftruncateSync(file);
    return file;
  } catch (error) {
    throw new UsageError(`--record ${quoted(path)} cannot be written: ${(error as Error).message}`);
  }
}
