import { once } from 'node:events';
import type { ServerProcess } from './serverProcess.ts';

/** Waits until the server has logged `event` at least `count` times. The log may lag behind answers. */
export async function untilLogged(server: ServerProcess, event: string, count = 1): Promise<void> {
  const sign = `"event":${JSON.stringify(event)}`;
  while (server.stderr().split(sign).length <= count) await once(server.child.stderr!, 'data');
}
