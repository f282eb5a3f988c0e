/** The one table of commands: in all doors, and in `--help`, in this order. */
import { info } from './about.ts';
import type { Command } from './command.ts';
import { history, list, presence, rooms } from './look.ts';
import { call, disconnect, drain, get, reload, set, stop } from './manage.ts';
import { ping } from './ping.ts';
import { broadcast, publish, send } from './speak.ts';
import { trace, watch, why } from './tell.ts';

const all: readonly Command[] = [
  ...[list, rooms, presence, history, info],
  ...[send, publish, broadcast],
  ...[ping, disconnect, why, trace, watch, call],
  ...[set, get, reload, drain, stop],
];

export const commands: ReadonlyMap<string, Command> = new Map(all.map(command => [command.name, command]));
