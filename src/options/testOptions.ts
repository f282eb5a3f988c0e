/** The options for testing clients. `--help` lists only their names; `pollywog help testing` describes them. */
import { defaultRecordMax } from '../protocol/recordingLimits.ts';
import type { OptionTable } from './option.ts';
import { casePattern, directory, faultEntry, flag, size } from './values.ts';

export const testOptions = {
  script: {
    kind: directory('none'),
    default: '',
    needsRestart: true,
    group: 'Testing',
    help: 'play the scripts in this folder at /script/NAME',
  },
  faults: {
    kind: flag,
    default: false,
    group: 'Testing',
    help: 'serve faults by URL, at /faulty?FAULT',
  },
  fault: {
    kind: faultEntry,
    repeatable: true,
    default: [],
    group: 'Testing',
    help: 'add faults to a handler, such as echo: delay=200ms',
  },
  record: {
    kind: directory('none'),
    default: '',
    needsRestart: true,
    group: 'Testing',
    help: 'record each WebSocket session in a file',
  },
  recordMax: {
    kind: size,
    default: defaultRecordMax,
    needsRestart: true,
    group: 'Testing',
    help: 'limit of all recordings together',
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
    needs: 'faults',
    group: 'Testing',
    help: 'folder for /replay/NAME, if not that of --record',
  },
  conformance: {
    kind: flag,
    default: false,
    needsRestart: true,
    group: 'Testing',
    help: "test clients with Autobahn's cases and paths",
  },
  conformanceExclude: {
    kind: casePattern,
    repeatable: true,
    default: [],
    needsRestart: true,
    needs: 'conformance',
    group: 'Testing',
    help: 'leave out cases, such as 12.*',
  },
  reportDir: {
    kind: directory('none'),
    default: 'reports/clients',
    needsRestart: true,
    needs: 'conformance',
    group: 'Testing',
    help: 'folder for the reports on clients',
  },
} as const satisfies OptionTable;
