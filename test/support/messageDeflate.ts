/** The client's side of permessage-deflate, on zlib's streams, exactly as agreed in the handshake. */
import {
  constants,
  createDeflateRaw,
  createInflateRaw,
  type DeflateRaw,
  type InflateRaw,
  type ZlibReset,
} from 'node:zlib';

/** RFC 7692 §7.2.1: removed from the end of each message that is sent, and appended to each that is received. */
const emptyBlock = Buffer.from([0x00, 0x00, 0xff, 0xff]);

type Codec = (DeflateRaw | InflateRaw) & ZlibReset;

export interface MessageCodec {
  /** Compresses or inflates a message's payload; one at a time. @throws Error from zlib */
  run(payload: Buffer): Promise<Buffer>;
  close(): void;
}

/** @param windowBits 9 to 15 */
export function newDeflater(keepsContext: boolean, windowBits: number): MessageCodec {
  const codec = newCodec(createDeflateRaw({ windowBits }), keepsContext);
  return {
    ...codec,
    async run(payload) {
      const deflated = await codec.run(payload);
      return deflated.subarray(0, deflated.length - emptyBlock.length);
    },
  };
}

/** @param windowBits 8 to 15. A reference beyond the window, or beyond a message without context, is an error */
export function newInflater(keepsContext: boolean, windowBits: number): MessageCodec {
  const codec = newCodec(createInflateRaw({ windowBits }), keepsContext);
  return { ...codec, run: payload => codec.run(Buffer.concat([payload, emptyBlock])) };
}

function newCodec(stream: Codec, keepsContext: boolean): MessageCodec {
  let output: Buffer[] = [];
  let fail = (_: Error) => {};
  stream.on('data', chunk => output.push(chunk as Buffer));
  stream.on('error', error => fail(error));
  return {
    run(payload) {
      return new Promise((resolve, reject) => {
        fail = reject;
        output = [];
        stream.write(payload);
        stream.flush(constants.Z_SYNC_FLUSH, () => {
          if (!keepsContext) stream.reset();
          resolve(Buffer.concat(output));
        });
      });
    },
    close: () => stream.close(),
  };
}
