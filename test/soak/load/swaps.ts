/** A module that is replaced repeatedly while clients use it, every fifth time by a broken version. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { echoSize, textFrame } from './frames.ts';
import { type Load, repeat } from './load.ts';
import { openPeer } from './peer.ts';

/** It counts each connection's messages across versions. */
const good = `
  export function message(connection, message) {
    connection.data = (connection.data ?? 0) + 1;
    connection.send(message.text());
  }`;

const broken = [
  'export function message( {',
  'throw new Error("while loading");',
  'export function message() { throw new Error("at the first message"); }',
];

/** Writes a version in one step. */
export function writeVersion(modules: string, version: number): void {
  const isBroken = version % 5 === 4;
  const source = isBroken ? broken[Math.floor(version / 5) % broken.length]! : good;
  writeFileSync(join(modules, '_next'), `${source}\n// version ${version}\n`);
  renameSync(join(modules, '_next'), join(modules, 'swapped.mjs'));
}

const message = textFrame('to be echoed');
const echoed = echoSize('to be echoed'.length);

export const swaps: Load = {
  name: 'module swaps',
  unit: 'messages',
  run: async (target, counts) => {
    const swapping = repeat(1, 2000, async (_, round) => writeVersion(target.modules, round + 1));
    const talking = repeat(20, 200, async () => {
      const peer = await openPeer(target, '/swapped');
      if (peer === undefined) {
        counts.refused++;
        return;
      }
      for (;;) {
        const answered = peer.receive(echoed);
        peer.socket.write(message);
        if (!(await answered)) break;
        counts.done++;
        await wait(100);
      }
      counts.closed++;
    });
    return Promise.all([swapping, talking]);
  },
};
