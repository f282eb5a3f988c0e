/** The bytes that the load sends and expects, built once by its own code, so as not to share the server's mistakes. */

const text = 0x81;
const binary = 0x82;
const maskingKey = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);

/** `count` binary messages of `size` bytes as a client sends them, masked, back to back. */
export function clientFrames(size: number, count: number): Buffer {
  return repeat(clientFrame(pattern(size)), count);
}

/** The same messages as a server sends them, unmasked. */
export function serverFrames(size: number, count: number): Buffer {
  return repeat(serverFrame(pattern(size)), count);
}

/** A binary message as a client sends it. */
export function clientFrame(payload: Buffer): Buffer {
  const masked = payload.map((byte, at) => byte ^ maskingKey[at & 3]!);
  return Buffer.concat([header(payload.length, 0x80), maskingKey, masked]);
}

/** The same as a server sends it. */
export function serverFrame(payload: Buffer): Buffer {
  return Buffer.concat([header(payload.length, 0), payload]);
}

/** A text message of a server. */
export function textFrame(content: string): Buffer {
  const frame = serverFrame(Buffer.from(content));
  frame[0] = text;
  return frame;
}

export function pattern(size: number): Buffer {
  return Buffer.alloc(size, 'abcdefghijklmnopqrstuvwxyz');
}

export function repeat(frame: Buffer, count: number): Buffer {
  return Buffer.alloc(frame.length * count, frame);
}

/** RFC 6455 §5.2: seven bits of length, or 126 and sixteen, or 127 and sixty-four. */
function header(size: number, maskBit: number): Buffer {
  if (size < 126) return Buffer.from([binary, maskBit | size]);
  if (size < 0x10000) return Buffer.from([binary, maskBit | 126, size >> 8, size & 0xff]);
  const long = Buffer.alloc(10);
  long.writeUInt16BE((binary << 8) | maskBit | 127);
  long.writeBigUInt64BE(BigInt(size), 2);
  return long;
}
