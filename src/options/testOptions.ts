/** The options for testing other people's clients. `--help` lists their names only; the manual page `testing` shows them in full. */
import { defaultRecordMax } from '../protocol/recordingLimits.ts';
import type { OptionTable } from './option.ts';
import { directory, faultEntry, flag, size } from './values.ts';

export const testOptions = {
  script: {
    kind: directory('none'),
    default: '',
    needsRestart: true,
    group: 'Testing',
    help: 'play the scripts of this folder at /script/NAME',
  },
  faults: {
    kind: flag,
    default: false,
    group: 'Testing',
    help: 'serve faults that a URL asks for, at /faulty?FAULT',
  },
  fault: {
    kind: faultEntry,
    repeatable: true,
    default: [],
    group: 'Testing',
    help: 'faults of a handler, such as echo: delay=200ms',
  },
  record: {
    kind: directory('none'),
    default: '',
    needsRestart: true,
    group: 'Testing',
    help: 'record every WebSocket session, a file each',
  },
  recordMax: {
    kind: size,
    default: defaultRecordMax,
    needsRestart: true,
    group: 'Testing',
    help: 'size of all recordings together',
  },
  recordCredentials: {
    kind: flag,
    default: false,
    needsRestart: true,
    group: 'Testing',
    help: 'record tokens, cookies and passwords, too',
  },
} as const satisfies OptionTable;
