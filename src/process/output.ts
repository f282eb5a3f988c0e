/** What was said on stdout and stderr: the process ends when it is read, and not much later where it is not. */
import type { WriteStream } from 'node:tty';
import { outputDrainTimeout } from '../protocol/limits.ts';

/** Resolves when whoever reads our output has all of it, or does not read on. */
export async function outputTaken(): Promise<void> {
  await Promise.all([taken(process.stdout), taken(process.stderr)]);
}

async function taken(stream: WriteStream): Promise<void> {
  for (;;) {
    const before = stream.writableLength;
    if (before === 0) return;
    await Promise.race([
      new Promise<void>(resolve => {
        stream.write('', () => resolve());
      }),
      new Promise<void>(resolve => {
        setTimeout(resolve, outputDrainTimeout);
      }),
    ]);
    if (stream.writableLength >= before) return;
  }
}
