/** Commands through the spool, as scripts send them. */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { spoolFolder } from '../../support/spool.ts';
import { type Load, repeat } from './load.ts';

const lines = ['publish pond0 hello', 'broadcast hello', 'info', 'rooms', 'list', 'get'];

export const commands: Load = {
  name: 'commands',
  unit: 'files',
  isHarmless: true,
  run: (target, counts) => {
    const spool = spoolFolder(target.spool);
    return repeat(1, 250, async (_, round) => {
      spool.put(`${round}`, `${lines[round % lines.length]}\n`);
      while (!spool.has(`${round}.out`)) {
        if (existsSync(join(target.spool, 'failed', `${round}.out`))) {
          counts.closed++;
          return;
        }
        await wait(20);
      }
      counts.done++;
      rmSync(join(target.spool, `${round}.out`));
    });
  },
};
