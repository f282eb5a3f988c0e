/** A child that appends to a log until it is killed, and says each number that it may acknowledge: `node logForever.js DIR`. */
import { writeSync } from 'node:fs';
import { openMessageLog } from '../../../src/storage/log/openLog.ts';
import { logOptions, numbered } from './scratchLog.ts';

const [, , directory = ''] = process.argv;
// Small segments, so that kills hit rotations and purges, too.
const { log, lastSeq } = await openMessageLog(logOptions({ directory, rotateAt: 2000 }));
function appendSome(next: number): void {
  for (let seq = next; seq < next + 30; seq += 3) {
    log.append(numbered(3, seq));
    log.sync();
    writeSync(1, `${seq + 2}\n`);
  }
  setImmediate(appendSome, next + 30);
}
appendSome(lastSeq + 1);
for (;;) await log.purge('nothing', 1);
