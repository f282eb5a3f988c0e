/** The part of the table of options that modules of the user's have. */
import { defaults } from '../protocol/limits.ts';
import type { OptionTable } from './option.ts';
import { directory, duration, flag } from './values.ts';

export const moduleOptions = {
  handlers: {
    kind: directory('none'),
    default: '',
    group: 'Modules',
    needsRestart: true,
    help: 'load the modules in this folder',
  },
  watch: {
    kind: flag,
    default: false,
    group: 'Modules',
    needsRestart: true,
    help: 'reload a module when its file changes',
  },
  loadTimeout: {
    kind: duration,
    default: defaults.loadTimeout,
    group: 'Modules',
    help: 'time limit for loading a module',
  },
  rollbackWindow: {
    kind: duration,
    alias: 'probation',
    default: defaults.rollbackWindow,
    group: 'Modules',
    help: 'roll back a version that throws this early',
  },
  handlerTimeout: {
    kind: duration,
    alias: 'answerTimeout',
    default: defaults.handlerTimeout,
    group: 'Modules',
    help: "time limit for a handler's promise",
  },
  slowHandler: {
    kind: duration,
    alias: 'slowTurn',
    default: defaults.slowHandler,
    group: 'Modules',
    help: 'log handlers that block longer than this',
  },
} as const satisfies OptionTable;
