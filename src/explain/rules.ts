/** The ids in the ledger (ledger.json) of the rules for each field of a frame. */
import { Opcode } from '../protocol/codes.ts';

const byField: readonly (readonly [begins: string, rules: readonly string[]])[] = [
  ['FIN', ['5.2-a', '5.2-1', '5.4-a', '5.4-2']],
  ['RSV1', ['5.2-2', '5.2-3', '7692-6-1', '7692-6-2']],
  ['RSV', ['5.2-2', '5.2-3']],
  ['MASK', ['5.1-1', '5.1-2', '5.1-4', '5.1-5', '5.3-1']],
  ['Payload len', ['5.2-d', '5.2-6', '5.5-1']],
  ['Extended payload length', ['5.2-d', '5.2-e', '5.2-5', '5.2-6']],
  ['Masking-key', ['5.2-c', '5.3-2', '5.3-3']],
  ['Payload, unmasked', ['5.3-a', '5.2-g']],
  ['Payload, masked', ['5.3-a', '5.1-1']],
  ['Payload', ['5.2-f', '5.2-g']],
  ['Reason', ['5.5.1-3', '5.5.1-4']],
];

/** @param name as `Field.name` */
export function rulesOfField(name: string): readonly string[] {
  return byField.find(([begins]) => name.startsWith(begins))?.[1] ?? [];
}

const byOpcode: ReadonlyMap<number, readonly string[]> = new Map([
  [Opcode.Continuation, ['5.2-b', '5.4-a', '5.4-4', '5.4-12']],
  [Opcode.Text, ['5.2-b', '5.6-1', '8.1-1']],
  [Opcode.Binary, ['5.2-b']],
  [Opcode.Close, ['5.2-b', '5.5-1', '5.5.1-5', '5.5.1-6', '5.5.1-9']],
  [Opcode.Ping, ['5.2-b', '5.5-1', '5.5.2-2']],
  [Opcode.Pong, ['5.2-b', '5.5-1', '5.5.3-a', '5.5.3-2']],
]);

export function rulesOfOpcode(opcode: number): readonly string[] {
  return byOpcode.get(opcode) ?? ['5.2-b', '5.2-4'];
}

const byCode: ReadonlyMap<number, string> = new Map([
  [1000, '7.4.1-a'],
  [1001, '7.4.1-b'],
  [1002, '7.4.1-c'],
  [1003, '7.4.1-2'],
  [1004, '7.4.1-d'],
  [1005, '7.4.1-3'],
  [1006, '7.4.1-4'],
  [1007, '7.4.1-e'],
  [1008, '7.4.1-f'],
  [1009, '7.4.1-g'],
  [1010, '7.4.1-h'],
  [1011, '7.4.1-i'],
  [1015, '7.4.1-6'],
]);

/** The rules of a close code. */
export function rulesOfCode(code: number): readonly string[] {
  const own = byCode.get(code);
  if (own !== undefined) return [own];
  if (code < 1000) return ['7.4.2-a'];
  if (code < 3000) return ['7.4.2-b'];
  return [code < 4000 ? '7.4.2-c' : '7.4.2-d'];
}

/** The rules of a reason that is not UTF-8. */
export const reasonRules: readonly string[] = ['5.5.1-3', '8.1-1'];
