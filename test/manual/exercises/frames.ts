/** What the checks of the exercises say about frames. */
import { opcode, type RawFrame } from '../../support/rawFrame.ts';

const names = new Map<number, string>(Object.entries(opcode).map(([name, number]) => [number, name]));

/** A frame in words: `a ping`, `a text of 5 bytes`, `a close frame with 1002 "…"`; undefined is the end of TCP. */
export function inWords(frame: RawFrame | undefined): string {
  if (frame === undefined) return 'the end of the TCP connection';
  const { payload } = frame;
  if (frame.opcode !== opcode.close) {
    const name = names.get(frame.opcode) ?? `frame with opcode ${frame.opcode}`;
    return payload.length === 0 ? `a ${name}` : `a ${name} of ${payload.length} bytes`;
  }
  if (payload.length < 2)
    return `a close frame ${payload.length === 0 ? 'without a code' : 'with half a code'}`;
  const reason = payload.subarray(2).toString();
  return `a close frame with ${payload.readUInt16BE()}${reason === '' ? '' : ` "${reason}"`}`;
}

/** The code of a close frame; 1005 if it has none, undefined for any other frame and for the end of TCP. */
export function closeCodeOf(frame: RawFrame | undefined): number | undefined {
  if (frame?.opcode !== opcode.close) return undefined;
  return frame.payload.length < 2 ? 1005 : frame.payload.readUInt16BE();
}
