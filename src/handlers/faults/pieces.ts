/** What a piece of output is. */
import { Opcode } from '../../protocol/codes.ts';
import type { Piece } from './fault.ts';

function opcodeOf({ kind, bytes }: Piece): number | undefined {
  return kind === 'frame' ? bytes[0]! & 0x0f : undefined;
}

/** A whole frame of a message. */
export const isDataFrame = (piece: Piece): boolean => (opcodeOf(piece) ?? 8) < 8;
export const isControlFrame = (piece: Piece): boolean => (opcodeOf(piece) ?? 0) >= 8;
export const isCloseFrame = (piece: Piece): boolean => opcodeOf(piece) === Opcode.Close;
