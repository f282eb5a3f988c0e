/** What a module exports, held against what is expected of it. The same in the process that tries it and in the server. */
import { isToken } from '../../protocol/http/fields.ts';
import type * as user from './interface.ts';

export interface Exports {
  readonly names: readonly string[];
  readonly handler: user.Handler | undefined;
  readonly wire: user.Wire | undefined;
}

const handlerFunctions = ['state', 'swap', 'stopped', 'opened', 'message', 'closed', 'command', 'tick'];
const wireFunctions = ['matches', 'greet', 'receive', 'goodbye', 'closed'];

type Loose = Readonly<Record<string, unknown>>;

/**
 * @param fallback what the handler is called if it does not say
 * @throws Error, the end of a sentence that begins with the module
 */
export function readExports(namespace: Loose, fallback: string): Exports {
  const standard = namespace['default'];
  const handler = (isRecord(standard) ? standard : namespace) as Loose;
  const { wire } = namespace;
  checkFunctions(handler, handlerFunctions, '');
  if (wire !== undefined) {
    if (!isRecord(wire)) throw new Error('exports a wire that is no object');
    checkFunctions(wire, wireFunctions, 'wire.');
    if (wire['receive'] === undefined) throw new Error('exports a wire without receive(connection, bytes)');
    if (wire['matches'] === undefined && wire['greet'] === undefined)
      throw new Error(
        'exports a wire with neither matches(firstBytes) nor greet(connection): nobody would get it',
      );
  }
  if (handler['message'] === undefined) {
    if (wire !== undefined) return { names: [], handler: undefined, wire: wire as unknown as user.Wire };
    throw new Error(
      'exports neither message(connection, message) nor a wire; a file that others import begins with _',
    );
  }
  const { tickEvery } = handler;
  if (tickEvery !== undefined && !(typeof tickEvery === 'number' && tickEvery >= 1 && tickEvery < 2 ** 31))
    throw new Error('exports a tickEvery that is not a number of milliseconds from 1 on');
  const names = readNames(handler, fallback);
  return { names, handler: handler as unknown as user.Handler, wire: wire as user.Wire | undefined };
}

function isRecord(value: unknown): value is Loose {
  return typeof value === 'object' && value !== null;
}

function checkFunctions(from: Loose, names: readonly string[], prefix: string): void {
  for (const name of names) {
    if (from[name] !== undefined && typeof from[name] !== 'function')
      throw new Error(`exports ${prefix}${name}, which is to be a function, as ${typeof from[name]}`);
  }
}

function readNames({ name, names }: Loose, fallback: string): readonly string[] {
  const list: unknown = names ?? [name ?? fallback];
  if (!Array.isArray(list) || list.length === 0) throw new Error('exports names that are no list of strings');
  for (const one of list) {
    if (typeof one !== 'string' || !isToken(one))
      throw new Error(
        `is called ${JSON.stringify(one)}, but a subprotocol is letters, digits, - . _ and the like`,
      );
  }
  return [...new Set(list as string[])];
}
