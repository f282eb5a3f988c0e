/** What the commands of a file in the spool said: many short pieces of text, kept as few long ones of bytes. */
import { maxSpoolOutput } from '../../protocol/limits.ts';

export interface Output {
  readonly pieces: Buffer[];
  /** Behind the pieces. */
  text: string;
  /** Of both, in bytes. */
  size: number;
}

const pieceLength = 64 * 1024;

export function newOutput(): Output {
  return { pieces: [], text: '', size: 0 };
}

/** @returns false where there is no room left for it; then nothing is added */
export function addText(output: Output, text: string): boolean {
  const size = output.size + Buffer.byteLength(text);
  if (size > maxSpoolOutput) return false;
  output.size = size;
  output.text += text;
  if (output.text.length >= pieceLength) closePiece(output);
  return true;
}

/** All of it. @param last a line that has room in any case */
export function allOf(output: Output, last = ''): readonly Buffer[] {
  output.text += last;
  closePiece(output);
  return output.pieces;
}

function closePiece(output: Output): void {
  output.pieces.push(Buffer.from(output.text));
  output.text = '';
}
