/**
 * Masking, RFC 6455 §5.3: octet i of the payload is XORed with octet i modulo 4 of the masking key. The same operation
 * masks and unmasks.
 *
 * Every byte that a client sends is unmasked, so 200 bytes of WebAssembly (source: `unmask.wat`) unmask sixteen bytes at a
 * time. WebAssembly reaches only its own memory, the I/O arena, so the loop reads into that. Bytes elsewhere are unmasked
 * in plain JavaScript, with the same result.
 */

/** 64 KiB pages of the I/O arena: 5.5 MiB. Pages that are never touched cost nothing. */
const pages = 88;

const wasmModule = [
  'AGFzbQEAAAABCAFgA39/fwF/AhEBBWFyZW5hBm1lbW9yeQIAAQMCAQAHCgEGdW5tYXNrAAAKiAEBhQECA3sCfyAC/REhAwJAA0AgAEEQ',
  'aiABSw0BIAD9AAAAIAP9USEEIAAgBP0LAAAgBSAE/VAhBSAAQRBqIQAMAAsLAkADQCAAIAFPDQEgAC0AACACQf8BcXMhBiAAIAY6AAAg',
  'ByAGciEHIAJBCHghAiAAQQFqIQAMAAsLIAX9ZCAHQYABcXIL',
].join('');

// @types/node 20 does not declare WebAssembly.
declare const WebAssembly: {
  Memory: new (size: { initial: number; maximum: number }) => { buffer: ArrayBuffer };
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { exports: Record<string, unknown> };
};

type Unmask = (start: number, end: number, key: number) => number;

/** Without WebAssembly (`node --jitless`), the arena is a plain buffer, and unmasking takes the plain loop. */
function loadWasm(): { memory: Buffer; unmaskWide: Unmask | undefined } {
  try {
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const module = new WebAssembly.Module(Buffer.from(wasmModule, 'base64'));
    const instance = new WebAssembly.Instance(module, { arena: { memory } });
    return { memory: Buffer.from(memory.buffer), unmaskWide: instance.exports['unmask'] as Unmask };
  } catch {
    return { memory: Buffer.alloc(pages * 65_536), unmaskWide: undefined };
  }
}

const { memory, unmaskWide } = loadWasm();

/** The I/O arena: the memory in which `unmask` is fastest. It is never resized or freed. */
export const ioArena: Buffer = memory;

const arenaView = new DataView(memory.buffer, memory.byteOffset, memory.length);

/** `copyWithin` costs more than copying so few bytes in words. */
const shortCopy = 64;

/** Copies the arena's bytes `[start, end)` to `at`. The two ranges do not overlap. */
export function copyInArena(at: number, start: number, end: number): void {
  const length = end - start;
  if (length > shortCopy) {
    ioArena.copyWithin(at, start, end);
    return;
  }
  const words = length & ~3;
  for (let i = 0; i < words; i += 4) arenaView.setInt32(at + i, arenaView.getInt32(start + i, true), true);
  for (let i = words; i < length; i++) ioArena[at + i] = ioArena[start + i]!;
}

/**
 * XORs `bytes[start, end)` in place.
 * @param key the masking key as a little-endian 32-bit integer; its first octet is for `bytes[start]`
 * @returns 0 if every byte of the result is ASCII (below 0x80): such text needs no UTF-8 check
 */
export function unmask(bytes: Uint8Array, start: number, end: number, key: number): number {
  if (bytes === ioArena && unmaskWide !== undefined) return unmaskWide(start, end, key);
  return unmaskPlain(bytes, start, end, key);
}

/** For fewer bytes, a view costs more than it saves. */
const shortRange = 128;

/** Fallback of `unmask`, for bytes outside the arena and for a Node without WebAssembly. */
export function unmaskPlain(bytes: Uint8Array, start: number, end: number, key: number): number {
  if (end - start < shortRange) return unmaskBytes(bytes, start, end, key);
  // Four bytes at a time, between two addresses that are divisible by four.
  const first = start + (-(bytes.byteOffset + start) & 3);
  const words = new Int32Array(bytes.buffer, bytes.byteOffset + first, (end - first) >>> 2);
  const wordKey = advanceKey(key, first - start) | 0;
  let seen = 0;
  for (let at = 0; at < words.length; at++) {
    const word = words[at]! ^ wordKey;
    words[at] = word;
    seen |= word;
  }
  const ends =
    unmaskBytes(bytes, start, first, key) | unmaskBytes(bytes, first + 4 * words.length, end, wordKey);
  return (seen & 0x8080_8080) !== 0 ? 0x80 : ends;
}

function unmaskBytes(bytes: Uint8Array, start: number, end: number, key: number): number {
  let seen = 0;
  let rotatingKey = key;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]! ^ (rotatingKey & 0xff);
    bytes[at] = byte;
    seen |= byte;
    // RFC 6455 §5.3 [5.3-a]: each octet of the payload uses the next octet of the key.
    rotatingKey = (rotatingKey >>> 8) | (rotatingKey << 24);
  }
  return seen & 0x80;
}

/** The key for the payload after its first `count` bytes. */
export function advanceKey(key: number, count: number): number {
  const bits = (count & 3) * 8;
  return bits === 0 ? key : (key >>> bits) | (key << (32 - bits));
}
