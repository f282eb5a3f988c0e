/** The table of commands as methods: `await server.commands.publish('orders', 'x')`. */

import type { Call, Command, Control, Reply } from '../commands/command.ts';
import { submit } from '../commands/commandQueue.ts';
import { commands, parseNamed, usage } from '../commands/commands.ts';
import { UsageError } from '../options/error.ts';
import { isObject } from '../options/json.ts';
import type { Commands, CommandWord, ServerEvent } from './interface.ts';

/** `fail` rejects the calls that wait for an answer, and all later ones: the server has ended. */
export interface CommandMethods {
  readonly methods: Commands;
  fail(error: Error): void;
}

/** @param events what `watch` returns */
export function newCommandMethods(control: Control, events: AsyncIterable<ServerEvent>): CommandMethods {
  const pending = new Set<(error: Error) => void>();
  let ended: Error | undefined;

  async function call(command: Command, words: readonly CommandWord[]): Promise<unknown> {
    const parsed = parseNamed(command, nameWords(command, words));
    if (ended !== undefined) throw ended;
    return new Promise((resolve, reject) => {
      pending.add(reject);
      runCall(control, parsed, (error, text) => {
        pending.delete(reject);
        if (error === undefined) resolve(JSON.parse(text));
        else reject(error);
      });
    });
  }

  const finite = [...commands.values()].filter(({ streams }) => streams === undefined);
  const methods = finite.map(command => [
    command.name,
    (...words: readonly CommandWord[]) => call(command, words),
  ]);
  return {
    methods: { ...(Object.fromEntries(methods) as Omit<Commands, 'watch'>), watch: () => events },
    fail(error) {
      ended = error;
      for (const reject of pending) reject(error);
      pending.clear();
    },
  };
}

/** Names the words after the command's parameters, as in a JSON call. @throws UsageError */
function nameWords(command: Command, words: readonly CommandWord[]): Readonly<Record<string, unknown>> {
  const last = words.at(-1);
  const options = isObject(last) && !(last instanceof Uint8Array) ? last : {};
  const placed = options === last ? words.slice(0, -1) : [...words];
  const named: Record<string, unknown> = { ...options };
  for (const [name, { isOption, rest, orBytes }] of Object.entries(command.parameters)) {
    if (isOption || placed.length === 0) continue;
    const word = rest === 'list' ? placed.splice(0).map(String) : placed.shift();
    if (orBytes && word instanceof Uint8Array) named['binary'] = Buffer.from(word).toString('base64');
    else named[name] = word;
  }
  if (placed.length > 0)
    throw new UsageError(`unexpected argument ${JSON.stringify(placed[0])}; usage: ${usage(command)}`);
  return named;
}

function runCall(
  control: Control,
  call: Call,
  settle: (error: Error | undefined, text: string) => void,
): void {
  let text = '';
  let onDone = () => {};
  const reply: Reply = {
    ...{ via: 'in process', isJson: true, isClosed: false },
    write(more) {
      text += more;
    },
    flush() {},
    unsent: () => 0,
    end(error) {
      settle(error, text);
      onDone();
    },
    onAbort() {},
    onDone(listener) {
      onDone = listener;
    },
  };
  submit(control, call, reply);
}
