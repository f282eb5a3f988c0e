/** Checks what a module exports. Runs in the process that tries the module, and again in the server. */
import { maxTimerDelay } from '../../options/values.ts';
import { isToken } from '../../protocol/http/fields.ts';
import type * as user from './interface.ts';

export interface Exports {
  readonly names: readonly string[];
  readonly handler: user.Handler | undefined;
  readonly wire: user.Wire | undefined;
}

const handlerFunctions = [
  'state',
  'swap',
  'stopped',
  'admit',
  'opened',
  'message',
  'closed',
  'command',
  'tick',
];
const wireFunctions = ['matches', 'greet', 'receive', 'goodbye', 'closed'];

type Loose = Readonly<Record<string, unknown>>;

/**
 * @param fallback the handler's name if the module exports none
 * @throws Error, a sentence without its subject, which is the module
 */
export function readExports(namespace: Loose, fallback: string): Exports {
  const standard = namespace['default'];
  const handler = (isRecord(standard) ? standard : namespace) as Loose;
  const { wire } = namespace;
  checkFunctions(handler, handlerFunctions, '');
  if (wire !== undefined) {
    if (!isRecord(wire)) throw new Error('exports a wire that is not an object');
    checkFunctions(wire, wireFunctions, 'wire.');
    if (wire['receive'] === undefined) throw new Error('exports a wire without receive(connection, bytes)');
    if (wire['matches'] === undefined && wire['greet'] === undefined)
      throw new Error(
        'exports a wire with neither matches(firstBytes) nor greet(connection): no connection would ever use it',
      );
  }
  if (handler['message'] === undefined) {
    if (wire !== undefined) return { names: [], handler: undefined, wire: wire as unknown as user.Wire };
    throw new Error(
      'exports neither message(connection, message) nor a wire; if it is only for others to import, begin its name with _',
    );
  }
  const { tickEvery } = handler;
  if (
    tickEvery !== undefined &&
    !(typeof tickEvery === 'number' && tickEvery >= 1 && tickEvery <= maxTimerDelay)
  )
    throw new Error(`exports a tickEvery that is not a number of milliseconds from 1 to ${maxTimerDelay}`);
  const names = readNames(handler, fallback);
  return { names, handler: handler as unknown as user.Handler, wire: wire as user.Wire | undefined };
}

function isRecord(value: unknown): value is Loose {
  return typeof value === 'object' && value !== null;
}

function checkFunctions(from: Loose, names: readonly string[], prefix: string): void {
  for (const name of names) {
    if (from[name] !== undefined && typeof from[name] !== 'function')
      throw new Error(`exports ${prefix}${name} as ${typeof from[name]}; it must be a function`);
  }
}

function readNames({ name, names }: Loose, fallback: string): readonly string[] {
  const list: unknown = names ?? [name ?? fallback];
  if (!Array.isArray(list) || list.length === 0)
    throw new Error('exports names that are not a list of strings');
  for (const one of list) {
    if (typeof one !== 'string' || !isToken(one))
      throw new Error(
        `is named ${JSON.stringify(one)}; the name of a subprotocol has letters, digits, - . _ and similar characters only`,
      );
  }
  return [...new Set(list as string[])];
}
