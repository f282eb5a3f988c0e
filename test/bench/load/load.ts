/** The load process: `node load.js TARGET JOB`, both JSON; prints one Sample, or one sentence on stderr and exits 1. */
import type { Job, Sample, Target } from '../jobs.ts';
import { loadBroadcast } from './broadcast.ts';
import { loadChannel } from './channel.ts';
import { loadChat } from './chat.ts';
import { fail } from './dial.ts';
import { loadEcho } from './echo.ts';
import { loadHandshakes } from './handshake.ts';
import { loadIdle } from './idle.ts';

function load(target: Target, job: Job): Promise<Sample> {
  switch (job.kind) {
    case 'echo':
      return loadEcho(target, job);
    case 'broadcast':
      return loadBroadcast(target, job);
    case 'channel':
      return loadChannel(target, job);
    case 'chat':
      return loadChat(target, job);
    case 'handshake':
      return loadHandshakes(target, job);
    case 'idle':
      return loadIdle(target, job);
  }
}

const [target, job] = process.argv.slice(2).map(argument => JSON.parse(argument));
const sample = await load(target, job).catch(fail);
// The exit ends the connections, which are still open and may still be busy.
process.stdout.write(`${JSON.stringify(sample)}\n`, () => process.exit(0));
