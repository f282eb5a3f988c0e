/** The options for the files of a web site. */
import type { OptionTable } from './option.ts';
import { directory, flag, sitePath } from './values.ts';

export const siteOptions = {
  static: {
    kind: directory('none'),
    default: '',
    needsRestart: true,
    group: 'Web site',
    help: 'serve the files of this folder',
  },
  staticFallback: {
    kind: sitePath,
    default: 'none',
    needsRestart: true,
    needs: 'static',
    group: 'Web site',
    help: 'page for paths without a file',
  },
  staticFollow: {
    kind: flag,
    default: false,
    needsRestart: true,
    needs: 'static',
    group: 'Web site',
    help: 'follow links that lead out of the folder',
  },
} as const satisfies OptionTable;
