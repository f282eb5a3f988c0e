/** The options for testing other people's clients. `--help` lists their names only; the manual page `testing` shows them in full. */
import type { OptionTable } from './option.ts';
import { directory } from './values.ts';

export const testOptions = {
  script: {
    kind: directory('none'),
    default: '',
    needsRestart: true,
    group: 'Testing',
    help: 'play the scripts of this folder at /script/NAME',
  },
} as const satisfies OptionTable;
