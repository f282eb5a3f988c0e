/** A client for raw bytes: it decodes no frames, checks nothing, and shares no code with the server. */
import type { Socket } from 'node:net';
import { connectTcp, handshakeRequest } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';

export interface FaultClient {
  readonly socket: Socket;
  /** The server's output up to the first empty line, inclusive; all of it if there is no empty line. */
  head(): string;
  /** The server's output after the head. */
  body(): Buffer;
  /** Sends a text message. */
  say(text: string): void;
  /** Waits until `fits` accepts the body, or the server ends its direction. @returns the body */
  until(fits: (body: Buffer) => boolean): Promise<Buffer>;
  /** Waits until the body has at least `size` bytes, or the server ends its direction. @returns the body */
  untilSize(size: number): Promise<Buffer>;
  /** Resolves at the end of the server's output: `FIN`, or the code of an error such as `ECONNRESET`. */
  readonly ended: Promise<string>;
  destroy(): void;
}

export interface FaultClientOptions {
  /** Default: none. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Gets each piece as it arrives. */
  readonly onPiece?: (piece: Buffer) => void;
}

/** Connects and sends the handshake, without waiting for an answer. */
export async function connectForFaults(
  port: number,
  path: string,
  { headers = {}, onPiece }: FaultClientOptions = {},
): Promise<FaultClient> {
  const socket = await connectTcp(port);
  const pieces: Buffer[] = [];
  let isOver = false;
  let wake = () => {};
  const ended = new Promise<string>(resolve => {
    const end = (how: string) => {
      isOver = true;
      resolve(how);
      wake();
    };
    socket.once('end', () => end('FIN'));
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.once('close', () => end('closed'));
  });
  socket.on('data', piece => {
    pieces.push(piece);
    onPiece?.(piece);
    wake();
  });
  socket.write(handshakeRequest({ path, headers }));

  const all = () => {
    const joined = Buffer.concat(pieces);
    pieces.splice(0, pieces.length, joined);
    return joined;
  };
  const headSize = () => {
    const end = all().indexOf('\r\n\r\n');
    return end < 0 ? all().length : end + 4;
  };
  const body = () => all().subarray(headSize());
  const until = async (fits: (body: Buffer) => boolean) => {
    while (!isOver && !fits(body())) {
      await new Promise<void>(resolve => {
        wake = resolve;
      });
    }
    return body();
  };
  return {
    socket,
    head: () => all().subarray(0, headSize()).toString('latin1'),
    body,
    say(text) {
      socket.write(frame(opcode.text, text));
    },
    until,
    untilSize: size => until(({ length }) => length >= size),
    ended,
    destroy() {
      socket.destroy();
    },
  };
}
