/** Classifies pieces of output. */
import { Opcode } from '../../protocol/codes.ts';
import { FIN } from '../../protocol/websocket/frame.ts';
import type { Piece } from './fault.ts';

/** Undefined unless the piece is a whole frame. */
export function opcodeOf({ kind, bytes }: Piece): number | undefined {
  return kind === 'frame' ? bytes[0]! & 0x0f : undefined;
}

/** Whether the piece is a whole text, binary or continuation frame. */
export const isDataFrame = (piece: Piece): boolean => (opcodeOf(piece) ?? 8) < 8;
export const isControlFrame = (piece: Piece): boolean => (opcodeOf(piece) ?? 0) >= 8;
/** Whether a message ends with this frame. */
export const isLastOfMessage = (piece: Piece): boolean => isDataFrame(piece) && (piece.bytes[0]! & FIN) !== 0;
export const isCloseFrame = (piece: Piece): boolean => opcodeOf(piece) === Opcode.Close;
