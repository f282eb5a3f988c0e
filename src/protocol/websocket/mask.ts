/**
 * Masking, RFC 6455 §5.3: octet i of the payload is XORed with octet i modulo 4 of the masking key. The same operation
 * masks and unmasks.
 *
 * It touches every byte a client sends, so it is done sixteen bytes at a time by some 200 bytes of WebAssembly
 * (`unmask.wat` beside this file is their source) for whatever lies in `ioArena`, the one block that WebAssembly can
 * reach; that is where the loop reads into. Bytes elsewhere are done in plain JavaScript, with the same result.
 */

/** 64 KiB pages of `ioArena`: 4 MiB, of which the untouched part costs nothing. */
const pages = 64;

const wasmModule = [
  'AGFzbQEAAAABCAFgA39/fwF/AhABBHR1cm4GbWVtb3J5AgABAwIBAAcKAQZ1bm1hc2sAAAqIAQGFAQIDewJ/IAL9ESEDAkADQCAA',
  'QRBqIAFLDQEgAP0AAAAgA/1RIQQgACAE/QsAACAFIAT9UCEFIABBEGohAAwACwsCQANAIAAgAU8NASAALQAAIAJB/wFxcyEGIAAg',
  'BjoAACAHIAZyIQcgAkEIeCECIABBAWohAAwACwsgBf1kIAdBgAFxcgs=',
].join('');

// Node has it; the types of Node 20 leave it to the browser's.
declare const WebAssembly: {
  Memory: new (size: { initial: number; maximum: number }) => { buffer: ArrayBuffer };
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { exports: Record<string, unknown> };
};

type Unmask = (start: number, end: number, key: number) => number;

/** A Node that was told to do without WebAssembly (--jitless) gets a plain block, and the plain loop. */
function loadWasm(): { memory: Buffer; unmaskWide: Unmask | undefined } {
  try {
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const module = new WebAssembly.Module(Buffer.from(wasmModule, 'base64'));
    const instance = new WebAssembly.Instance(module, { turn: { memory } });
    return { memory: Buffer.from(memory.buffer), unmaskWide: instance.exports['unmask'] as Unmask };
  } catch {
    return { memory: Buffer.alloc(pages * 65_536), unmaskWide: undefined };
  }
}

const { memory, unmaskWide } = loadWasm();

/** The block of memory in which `unmask` is fastest. It is never resized or freed. */
export const ioArena: Buffer = memory;

/**
 * XORs `bytes[start, end)` in place.
 * @param key the masking key as a little-endian 32-bit integer, its first octet meant for `bytes[start]`
 * @returns 0 when every byte of the result is ASCII (below 0x80), so that text needs no further check
 */
export function unmask(bytes: Uint8Array, start: number, end: number, key: number): number {
  if (bytes === ioArena && unmaskWide !== undefined) return unmaskWide(start, end, key);
  return unmaskPlain(bytes, start, end, key);
}

/** What `unmask` does, in plain JavaScript. */
export function unmaskPlain(bytes: Uint8Array, start: number, end: number, key: number): number {
  let seen = 0;
  let turning = key;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]! ^ (turning & 0xff);
    bytes[at] = byte;
    seen |= byte;
    turning = (turning >>> 8) | (turning << 24);
  }
  return seen & 0x80;
}

/** The key for what comes after the first `count` bytes of a payload that `key` began. */
export function advanceKey(key: number, count: number): number {
  const bits = (count & 3) * 8;
  return bits === 0 ? key : (key >>> bits) | (key << (32 - bits));
}
