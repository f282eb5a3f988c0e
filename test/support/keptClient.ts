/** A client that sends several HTTP requests on one connection. */
import type { Socket } from 'node:net';
import { type Answer, readAnswer } from './pollClient.ts';
import { connectTcp } from './rawClient.ts';

export class KeptClient {
  readonly socket: Socket;
  private bytes = Buffer.alloc(0);
  private isOver = false;
  private wake = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', more => {
      this.bytes = Buffer.concat([this.bytes, more]);
      this.wake();
    });
    const end = () => {
      this.isOver = true;
      this.wake();
    };
    socket.on('end', end).on('error', end).on('close', end);
  }

  /** Sends bytes. @returns the next answer */
  ask(bytes: string | Uint8Array, method = 'GET'): Promise<Answer> {
    this.socket.write(bytes);
    return this.next(method);
  }

  /** Waits for the next answer, whose body is as long as its Content-Length says. @throws Error if the connection ends before */
  async next(method = 'GET'): Promise<Answer> {
    for (;;) {
      const end = this.bytes.indexOf('\r\n\r\n');
      if (end >= 0) {
        const { headers } = readAnswer(this.bytes.subarray(0, end + 4));
        const length = method === 'HEAD' ? 0 : Number(headers.get('content-length') ?? 0);
        if (this.bytes.length >= end + 4 + length) {
          const answer = readAnswer(this.bytes.subarray(0, end + 4 + length));
          this.bytes = this.bytes.subarray(end + 4 + length);
          return answer;
        }
      }
      if (this.isOver) throw new Error(`the connection ended after ${JSON.stringify(`${this.bytes}`)}`);
      await this.woken();
    }
  }

  /** Waits for the end of the connection. @returns the bytes that no answer was made of */
  async rest(): Promise<string> {
    while (!this.isOver) await this.woken();
    return this.bytes.toString();
  }

  private woken(): Promise<void> {
    return new Promise(resolve => {
      this.wake = resolve;
    });
  }
}

export async function connectKept(port: number): Promise<KeptClient> {
  return new KeptClient(await connectTcp(port));
}
