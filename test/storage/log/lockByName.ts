/** A child that locks a folder and says how that went: `node lockByName.js DIR`. It holds the lock until stdin ends. */
import { writeSync } from 'node:fs';
import { lockFolder } from '../../../src/storage/log/lock.ts';

const [, , directory = ''] = process.argv;
try {
  const lock = await lockFolder(directory);
  writeSync(1, 'locked\n');
  process.stdin.resume().on('end', () => {
    lock.release();
    process.exit(0);
  });
} catch (error) {
  writeSync(1, `${(error as Error).message}\n`);
}
