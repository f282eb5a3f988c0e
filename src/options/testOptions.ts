/** The options for testing other people's clients. `--help` lists their names only; the manual page `testing` shows them in full. */
import { defaultRecordMax } from '../protocol/recordingLimits.ts';
import type { OptionTable } from './option.ts';
import { casePattern, directory, faultEntry, flag, size } from './values.ts';

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
  replay: {
    kind: directory('none'),
    default: '',
    needsRestart: true,
    group: 'Testing',
    help: 'the recordings of /replay/NAME, if not --record',
  },
  conformance: {
    kind: flag,
    default: false,
    needsRestart: true,
    group: 'Testing',
    help: "test clients by Autobahn's cases and paths",
  },
  conformanceExclude: {
    kind: casePattern,
    repeatable: true,
    default: [],
    needsRestart: true,
    group: 'Testing',
    help: 'leave out cases, such as 12.*',
  },
  reportDir: {
    kind: directory('none'),
    default: 'reports/clients',
    needsRestart: true,
    group: 'Testing',
    help: 'folder for reports on clients',
  },
} as const satisfies OptionTable;
