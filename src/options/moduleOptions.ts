/** The part of the table of options that modules of the user's have. */
import { defaults } from '../protocol/limits.ts';
import type { OptionTable } from './option.ts';
import { directory, duration, flag } from './values.ts';

export const moduleOptions = {
  handlers: {
    kind: directory('none'),
    default: '',
    group: 'Handlers of your own',
    needsRestart: true,
    help: 'load the modules in this folder',
  },
  watch: {
    kind: flag,
    default: false,
    group: 'Handlers of your own',
    needsRestart: true,
    help: 'load a module again when its file changes',
  },
  loadTimeout: {
    kind: duration,
    default: defaults.loadTimeout,
    group: 'Handlers of your own',
    help: 'longest time to load a module',
  },
  probation: {
    kind: duration,
    default: defaults.probation,
    group: 'Handlers of your own',
    help: 'a new version that throws is taken back',
  },
  answerTimeout: {
    kind: duration,
    default: defaults.answerTimeout,
    group: 'Handlers of your own',
    help: 'longest wait for a promise of a module',
  },
  slowTurn: {
    kind: duration,
    default: defaults.slowTurn,
    group: 'Handlers of your own',
    help: 'name a module that holds all others up',
  },
} as const satisfies OptionTable;
