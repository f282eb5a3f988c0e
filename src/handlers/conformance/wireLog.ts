/** The bytes of a case for its report: the first reads and writes, each cut after a few bytes. */
import { maxWireLogBytes, maxWireLogLines } from '../../protocol/conformanceLimits.ts';

/** `RO` are octets received, `TO` octets sent: the length, and the first of them in hexadecimal digits. */
export type WireLogLine = readonly [kind: 'RO' | 'TO', octets: readonly [length: number, hex: string]];

export interface WireLog {
  readonly lines: WireLogLine[];
  /** Whether `maxWireLogLines` left out later reads and writes. */
  isCut: boolean;
}

export const newWireLog = (): WireLog => ({ lines: [], isCut: false });

export function noteOctets(
  wireLog: WireLog,
  kind: WireLogLine[0],
  bytes: Buffer,
  start: number,
  end: number,
): void {
  if (wireLog.lines.length === maxWireLogLines) {
    wireLog.isCut = true;
    return;
  }
  const shown = bytes.toString('hex', start, Math.min(end, start + maxWireLogBytes));
  const isLong = end - start > maxWireLogBytes;
  wireLog.lines.push([kind, [end - start, isLong ? `${shown} ...` : shown]]);
}
