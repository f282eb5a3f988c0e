/** Frames built by hand, valid or not, RFC 6455 §5.2. */
import type { Field } from '../../explain/records.ts';

export const opcodes: ReadonlyMap<number, string> = new Map([
  [0, 'continuation'],
  [1, 'text'],
  [2, 'binary'],
  [8, 'close'],
  [9, 'ping'],
  [10, 'pong'],
]);

/** The size of the length field in bits, extensions included: 7, 16 or 64. */
export type LengthForm = 7 | 16 | 64;

export interface Draft {
  readonly isFinal: boolean;
  /** RSV1, RSV2, RSV3. */
  readonly rsv: readonly [boolean, boolean, boolean];
  readonly opcode: number;
  readonly isMasked: boolean;
  /** Four bytes in hexadecimal digits. */
  readonly key: string;
  /** Undefined: the fewest bits. */
  readonly form: LengthForm | undefined;
  /** The length that the header states. Undefined: the payload's. */
  readonly length: bigint | undefined;
  readonly payload: Uint8Array;
}

/** @returns the bytes, or undefined for anything but pairs of hexadecimal digits, with or without spaces */
export function parseHex(text: string): Uint8Array<ArrayBuffer> | undefined {
  const digits = text.replace(/0x|[\s,:]/gi, '');
  if (digits.length % 2 !== 0 || /[^0-9a-f]/i.test(digits)) return undefined;
  return Uint8Array.from(digits.match(/../g) ?? [], pair => Number.parseInt(pair, 16));
}

export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}

/** `81 85 37`. */
export function spaced(hex: string): string {
  return hex.replace(/..(?=.)/g, '$& ');
}

/** RFC 6455 §7.4: the code, then the reason. */
export function closePayload(code: number, reason: string): Uint8Array {
  return Uint8Array.of((code >> 8) & 0xff, code & 0xff, ...new TextEncoder().encode(reason));
}

function fewestBits(length: bigint): LengthForm {
  if (length < 126n) return 7;
  return length < 0x1_0000n ? 16 : 64;
}

/** The fields of a frame, as `explain` lists them. Their hex and values joined are the frame. */
export function fieldsOf(draft: Draft): Field[] {
  const { isFinal, rsv, opcode, isMasked, payload } = draft;
  const length = draft.length ?? BigInt(payload.length);
  // A length of 126 or more does not fit into the 7 bits: these values announce the longer forms.
  const form = draft.form === 7 && length > 125n ? fewestBits(length) : (draft.form ?? fewestBits(length));
  const section = 'RFC 6455 §5.2';
  const bit = (name: string, at: number, first: number, is: boolean): Field => ({
    ...{ name, at, bit: first, bits: 1, size: 1, value: is ? '1' : '0', meaning: '', section },
  });
  const short = form === 7 ? Number(length) : form === 16 ? 126 : 127;
  const fields: Field[] = [
    bit('FIN', 0, 0, isFinal),
    ...rsv.map((is, i) => bit(`RSV${i + 1}`, 0, i + 1, is)),
    { name: 'opcode', at: 0, bit: 4, bits: 4, size: 1, value: String(opcode), meaning: '', section },
    bit('MASK', 1, 0, isMasked),
    { name: 'Payload len', at: 1, bit: 1, bits: 7, size: 1, value: String(short), meaning: '', section },
  ];
  let at = 2;
  const add = (name: string, hex: string): void => {
    const size = hex.length / 2;
    fields.push({ name, at, size, value: hex, hex, meaning: '', section });
    at += size;
  };
  if (form !== 7)
    add(
      `Extended payload length (${form})`,
      BigInt.asUintN(form, length)
        .toString(16)
        .padStart(form / 4, '0'),
    );
  const key = parseHex(draft.key) ?? new Uint8Array(4);
  if (isMasked) add('Masking-key', hexOf(key).padEnd(8, '0').slice(0, 8));
  const masked = isMasked ? payload.map((byte, i) => byte ^ (key[i & 3] ?? 0)) : payload;
  if (payload.length > 0) add(isMasked ? 'Payload, masked' : 'Payload', hexOf(masked));
  return fields;
}

/** @returns the frame's bytes in hexadecimal digits */
export function frameOf(fields: readonly Field[]): string {
  const header = [0, 0];
  for (const { at, bit = 0, bits, value } of fields)
    if (bits !== undefined) header[at]! |= Number(value) << (8 - bit - bits);
  const rest = fields.filter(({ bits }) => bits === undefined).map(({ hex = '' }) => hex);
  return hexOf(Uint8Array.from(header)) + rest.join('');
}

/** A frame to begin with. `text`, `hex` or `code` gives the payload. */
export interface Example extends Partial<Omit<Draft, 'payload'>> {
  readonly name: string;
  readonly text?: string;
  readonly hex?: string;
  readonly code?: number;
}

export const validExamples: readonly Example[] = [
  { name: 'Text', opcode: 1, text: 'Hello' },
  { name: 'Binary', opcode: 2, hex: '00 01 fe ff' },
  { name: 'Ping', opcode: 9, text: 'Hello' },
  { name: 'Pong, unsolicited', opcode: 10, text: '' },
  { name: 'Close', opcode: 8, code: 1000, text: 'bye' },
  { name: 'First fragment', opcode: 1, isFinal: false, text: 'Hel' },
  { name: 'Last fragment', opcode: 0, text: 'lo' },
  // RFC 7692 §7.2.3.1.
  { name: 'Text, compressed: Hello', opcode: 1, rsv: [true, false, false], hex: 'f2 48 cd c9 c9 07 00' },
];

export const invalidExamples: readonly Example[] = [
  { name: 'Text without a mask', opcode: 1, isMasked: false, text: 'Hello' },
  { name: 'Text that is not UTF-8', opcode: 1, hex: '48 e9 6c 6c 6f' },
  { name: 'Reserved opcode 0x3', opcode: 3, text: 'Hello' },
  { name: 'RSV2 without an extension', opcode: 1, rsv: [false, true, false], text: 'Hello' },
  { name: 'Fragmented ping', opcode: 9, isFinal: false, text: 'Hello' },
  { name: 'Ping of 126 bytes', opcode: 9, text: 'x'.repeat(126) },
  { name: 'Continuation of nothing', opcode: 0, text: 'lo' },
  { name: 'Length 5 in 16 bits', opcode: 1, form: 16, text: 'Hello' },
  { name: 'Length of 2⁶³ bytes', opcode: 2, form: 64, length: 1n << 63n, text: '' },
  { name: 'Length 9, but 5 bytes', opcode: 1, length: 9n, text: 'Hello' },
  { name: 'Close with code 1005', opcode: 8, code: 1005, text: '' },
  { name: 'Close with one byte', opcode: 8, hex: '03' },
];
