/** Payloads of a script: fills in variables before sending, and compares awaited payloads with received ones. */
import { maxScriptVariable } from '../protocol/scriptLimits.ts';
import type { PayloadPart, PayloadPattern } from './script.ts';

export type ScriptVariables = Map<string, Buffer>;

/** The value of an unset variable: the player skipped the line that sets it. */
const noBytes = Buffer.alloc(0);

export const anyPayload: PayloadPattern = [{ capture: '' }];

export function isCapture(part: PayloadPart): part is { readonly capture: string } {
  return !Buffer.isBuffer(part) && 'capture' in part;
}

/** Fills in the values of the variables. Captures become empty, but only awaited lines have captures. */
export function fillPayload(payload: PayloadPattern, variables: ScriptVariables): Buffer {
  if (payload.length === 1 && Buffer.isBuffer(payload[0])) return payload[0];
  return Buffer.concat(payload.map(part => literalOf(part, variables) ?? noBytes));
}

function literalOf(part: PayloadPart, variables: ScriptVariables): Buffer | undefined {
  if (Buffer.isBuffer(part)) return part;
  return 'variable' in part ? (variables.get(part.variable) ?? noBytes) : undefined;
}

/**
 * Whether `bytes` match this payload. If they do, copies the captured bytes into `variables`. Each capture takes as few bytes as
 * possible: this finds any match in time proportional to the payload.
 */
export function matchesPayload(payload: PayloadPattern, bytes: Buffer, variables: ScriptVariables): boolean {
  /** The bytes before, between and after the captures. */
  const literals: Buffer[][] = [[]];
  const captures: string[] = [];
  for (const part of payload) {
    const literal = literalOf(part, variables);
    if (literal !== undefined) literals.at(-1)!.push(literal);
    else {
      captures.push((part as { capture: string }).capture);
      literals.push([]);
    }
  }
  const [first, ...others] = literals.map(parts => (parts.length === 1 ? parts[0]! : Buffer.concat(parts)));
  if (others.length === 0) return first!.equals(bytes);
  if (!startsWith(bytes, first!)) return false;
  const found: [string, Buffer][] = [];
  let at = first!.length;
  for (const [index, literal] of others.entries()) {
    const isLast = index === others.length - 1;
    const end = isLast ? bytes.length - literal.length : bytes.indexOf(literal, at);
    if (end < at || (isLast && !startsWith(bytes.subarray(end), literal))) return false;
    found.push([captures[index]!, bytes.subarray(at, end)]);
    at = end + literal.length;
  }
  for (const [name, value] of found) {
    if (name !== '') variables.set(name, Buffer.from(value.subarray(0, maxScriptVariable)));
  }
  return true;
}

function startsWith(bytes: Buffer, beginning: Buffer): boolean {
  return (
    bytes.length >= beginning.length &&
    bytes.compare(beginning, 0, beginning.length, 0, beginning.length) === 0
  );
}
