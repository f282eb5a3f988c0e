import assert from 'node:assert/strict';
import type { Exercise, Work } from '../exercise.ts';
import type * as Own from './starter.ts';

export const exercise: Exercise = {
  file: 'turn.ts',
  starter: 'starter.ts',
  solution: 'solution.ts',
  checks: [
    {
      claim: 'three lines of one client are answered with one write',
      async run(work) {
        const writes = await writesOf(work, 1, [{ 0: ['one', 'two', 'six'] }]);
        assertWrites(writes, ['0: ONE\nTWO\nSIX\n'], 'client 0 sent one, two and six in one turn');
      },
    },
    {
      claim: 'a line for all and an answer are one write, in their order',
      async run(work) {
        const writes = await writesOf(work, 3, [{ 0: ['a', '!all'], 2: ['b'] }]);
        const expected = ['0: A\nall\n', '1: all\n', '2: all\nB\n'];
        assertWrites(writes, expected, 'client 0 of three sent a and !all, then client 2 sent b');
      },
    },
    {
      claim: 'the next turn writes only what is new, and a turn without lines writes nothing',
      async run(work) {
        const writes = await writesOf(work, 2, [{ 0: ['a'] }, {}, { 1: ['b', 'c'] }]);
        assertWrites(
          writes,
          ['0: A\n', '1: B\nC\n'],
          'client 0 sent a, and client 1 sent b and c in a later turn',
        );
      },
    },
  ],
};

/** @param turns the lines that each client sends in a turn @returns the calls of `write`, sorted within each turn */
async function writesOf(
  work: Work,
  count: number,
  turns: readonly Readonly<Record<number, readonly string[]>>[],
): Promise<string[]> {
  const { newClient, turn } = (await work.load()) as typeof Own;
  const clients = Array.from({ length: count }, (_, id) => newClient(id));
  return turns.flatMap(sent => {
    const writes: string[] = [];
    const ready = Object.entries(sent).map(([id, lines]) => ({ client: clients[Number(id)]!, lines }));
    turn(ready, clients, (client, text) => writes.push(`${client.id}: ${text}`));
    // The order of the clients is free, that of writes to one client is not.
    return writes.toSorted((one, other) => Number.parseInt(one, 10) - Number.parseInt(other, 10));
  });
}

function assertWrites(writes: readonly string[], expected: readonly string[], happened: string): void {
  const show = (each: readonly string[]) => JSON.stringify(each);
  const message = `${happened}: turn called write with ${show(writes)}; expected ${show(expected)}.`;
  assert.deepEqual(writes, expected, message);
}
