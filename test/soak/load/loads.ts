/** All loads by the process that makes them, so that loads delay only similar ones. */
import { bombs } from './bombs.ts';
import { chat, joins, visitors } from './chat.ts';
import { commands } from './commands.ts';
import { connects, silent } from './connects.ts';
import { compression, echo, tls } from './echo.ts';
import { hoards } from './hoards.ts';
import type { Load } from './load.ts';
import { idleSessions, polls, streams, unfetched } from './polls.ts';
import { programFloods, programs } from './programs.ts';
import { resets } from './resets.ts';
import { smallFrames } from './smallFrames.ts';
import { swaps } from './swaps.ts';
import { unfinished } from './unfinished.ts';
import { unread } from './unread.ts';

const ofSoak = {
  everyday: [echo, tls, compression, chat, polls, streams, programs, swaps, commands],
  memory: [unfinished, unread, unfetched, bombs],
  crowds: [idleSessions, joins, visitors, connects, silent, resets, smallFrames, programFloods],
} as const satisfies Readonly<Record<string, readonly Load[]>>;

export const groups: Readonly<Record<string, readonly Load[]>> = { ...ofSoak, hoards };

const namesOf = (loads: readonly Load[]) => loads.map(({ name }) => name);

/** Those of the soak. */
export const loadNames: readonly string[] = namesOf(Object.values(ofSoak).flat());

/** Those that a stranger can make of a server with default options. */
export const strangerNames: readonly string[] = namesOf([
  ...ofSoak.memory,
  ...[idleSessions, joins, silent, resets, smallFrames],
  ...hoards,
]);
