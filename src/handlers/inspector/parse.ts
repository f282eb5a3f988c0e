/** Reads the page's messages. */
import { isObject } from '../../options/json.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import { maxWorkbenchFields, maxWorkbenchHead, maxWorkbenchSend } from '../../protocol/inspectorLimits.ts';
import type { OpenMessage, PageMessage } from './messages.ts';

type Fields = Readonly<Record<string, unknown>>;

/** The longest message: the bytes of `send` have two digits each. */
export const maxPageMessage = 2 * maxWorkbenchSend + 1024;

/** @throws ProtocolError 1008, a sentence */
export function parsePageMessage(text: string): PageMessage {
  const fields = readObject(text);
  const { type } = fields;
  switch (type) {
    case 'enter': {
      const { token } = fields;
      if (token === undefined) return { type };
      if (typeof token !== 'string') throw invalid('"token" must be a string');
      return { type, token };
    }
    case 'watch':
      return { type, serial: fields['serial'] === null ? null : positive(fields, 'serial') };
    case 'pause':
      return { type, isPaused: boolean(fields, 'isPaused') };
    case 'explain':
      return { type, frame: positive(fields, 'frame') };
    case 'export':
      return { type, serial: positive(fields, 'serial') };
    case 'open':
      return parseOpen(fields);
    case 'send': {
      const { hex } = fields;
      if (typeof hex !== 'string' || hex.length % 2 !== 0 || !/^[\da-f]*$/i.test(hex))
        throw invalid('"hex" must be hexadecimal digits, two for each byte');
      return { type, id: positive(fields, 'id'), hex };
    }
    case 'shut':
      return { type, id: positive(fields, 'id'), isReset: fields['isReset'] === true };
    default:
      throw invalid('the "type" of the message is unknown');
  }
}

function parseOpen(fields: Fields): OpenMessage {
  const { path, subprotocols = [], headers = {} } = fields;
  if (typeof path !== 'string' || path.length > maxWorkbenchHead) throw invalid('"path" must be a path');
  if (!Array.isArray(subprotocols) || !subprotocols.every(isText))
    throw invalid('"subprotocols" must be a list of strings');
  if (!isObject(headers)) throw invalid('"headers" must be an object');
  const entries = Object.entries(headers);
  if (!entries.every((entry): entry is [string, string] => isText(entry[1])))
    throw invalid('each value in "headers" must be a string');
  const size = [...subprotocols, ...entries.flat()].reduce((sum, one) => sum + one.length, path.length);
  if (
    entries.length > maxWorkbenchFields ||
    subprotocols.length > maxWorkbenchFields ||
    size > maxWorkbenchHead
  )
    throw invalid(
      `a handshake of the workbench has at most ${maxWorkbenchFields} fields and ${maxWorkbenchHead} characters`,
    );
  return {
    type: 'open',
    id: positive(fields, 'id'),
    path,
    subprotocols,
    isCompressed: fields['isCompressed'] === true,
    headers: Object.fromEntries(entries),
  };
}

function readObject(text: string): Fields {
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch {
    // The same refusal.
  }
  throw invalid('the message is not a JSON object');
}

const isText = (value: unknown): value is string => typeof value === 'string';

function positive(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value;
  throw invalid(`"${name}" must be a positive integer`);
}

function boolean(fields: Fields, name: string): boolean {
  const value = fields[name];
  if (typeof value === 'boolean') return value;
  throw invalid(`"${name}" must be true or false`);
}

function invalid(why: string): ProtocolError {
  return new ProtocolError(CloseCode.PolicyViolation, why);
}
