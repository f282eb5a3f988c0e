/** The peer's side of permessage-deflate, as most implement it: one zlib stream per direction and connection. */
import { once } from 'node:events';
import { constants, createDeflateRaw, createInflateRaw, type ZlibOptions } from 'node:zlib';

const tail = Buffer.from('0000ffff', 'hex');

export interface ZlibPeer {
  /** The payload of a compressed message. */
  compress(plain: Uint8Array): Promise<Buffer>;
  /** The message that was compressed. */
  inflate(compressed: Uint8Array): Promise<Buffer>;
  close(): void;
}

/**
 * Keeps its context in both directions.
 * @param options for both directions; zlib makes no raw stream to compress with `windowBits` of 8
 */
export function newZlibPeer(options: ZlibOptions = {}): ZlibPeer {
  const deflater = createDeflateRaw({ ...options, windowBits: Math.max(9, options.windowBits ?? 15) });
  const inflater = createInflateRaw({ ...options, chunkSize: 64 });
  const broken = once(inflater, 'error').then(([error]) => Promise.reject(error as Error));
  // An error of a stream that is no longer used is of no interest.
  broken.catch(() => {});
  return {
    async compress(plain) {
      const chunks: Buffer[] = [];
      const take = (chunk: Buffer) => chunks.push(chunk);
      deflater.on('data', take);
      deflater.write(plain);
      await new Promise<void>(resolve => deflater.flush(constants.Z_SYNC_FLUSH, resolve));
      deflater.off('data', take);
      return Buffer.concat(chunks).subarray(0, -tail.length);
    },
    async inflate(compressed) {
      const chunks: Buffer[] = [];
      const take = (chunk: Buffer) => chunks.push(chunk);
      inflater.on('data', take);
      inflater.write(compressed);
      inflater.write(tail);
      const flushed = new Promise<void>(resolve => inflater.flush(constants.Z_SYNC_FLUSH, resolve));
      await Promise.race([flushed, broken]);
      inflater.off('data', take);
      return Buffer.concat(chunks);
    },
    close() {
      deflater.close();
      inflater.close();
    },
  };
}
