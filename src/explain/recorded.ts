/** A recording as input of `explain`. */
import { Buffer } from 'node:buffer';
import { parseRecording, type RecordedEvent, type RecordedHeaders } from '../recordings/recording.ts';
import type { SentBytes } from './explain.ts';

export function isRecording(bytes: Buffer): boolean {
  return bytes.toString('latin1', 0, 24).startsWith('{"pollywog":"recording"');
}

/**
 * @returns the bytes of both ends, without redacted frames
 * @throws Error, a sentence that names the line
 */
export function readRecorded(bytes: Buffer): SentBytes[] {
  const { events } = parseRecording('recording', bytes.toString('utf8'));
  return events.map(chunkOf).filter(chunk => chunk !== undefined);
}

function chunkOf(event: RecordedEvent): SentBytes | undefined {
  switch (event.kind) {
    // A recording has the fields of the handshake, but not its bytes.
    case 'request':
      return { sender: 'client', bytes: head(`GET ${event.target} HTTP/1.1`, event.headers) };
    case 'response':
      return { sender: 'server', bytes: head(`HTTP/1.1 ${event.status} Recorded`, event.headers) };
    case 'frame':
      return event.raw === undefined ? undefined : { sender: event.from, bytes: event.raw };
    case 'bytes':
      return { sender: event.from, bytes: event.bytes };
    default:
      return undefined;
  }
}

function head(firstLine: string, headers: RecordedHeaders): Buffer {
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return Buffer.from(`${[firstLine, ...fields].join('\r\n')}\r\n\r\n`, 'latin1');
}
