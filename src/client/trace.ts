/** What `--verbose` shows of a connection: the handshake's lines, and a line for each frame's header. */
import type { Buffer } from 'node:buffer';
import type { FrameHeader } from '../protocol/websocket/frame.ts';

/** Which way: `>` is ours, `<` the server's, as curl has it. */
export type Direction = '>' | '<';

const names: Readonly<Record<number, string>> = {
  0: 'continuation',
  1: 'text',
  2: 'binary',
  8: 'close',
  9: 'ping',
  10: 'pong',
};

export function showFrame(direction: Direction, header: Omit<FrameHeader, 'key'>): string {
  const { opcode, length, fin, rsv1 } = header;
  const marks = `${rsv1 ? ', compressed' : ''}${fin ? '' : ', more follows'}`;
  return `${direction} ${names[opcode] ?? opcode}, ${length} bytes${marks}`;
}

export function showHead(direction: Direction, head: Buffer): string[] {
  const lines = head.toString('latin1').trimEnd().split('\r\n');
  return lines.map(line => `${direction} ${line}`);
}
