import assert from 'node:assert/strict';
import { connect } from 'node:net';
import type { ServerProcess } from '../../../support/serverProcess.ts';
import type { Exercise } from '../exercise.ts';
import type * as Own from './starter.ts';

export const exercise: Exercise = {
  file: 'table.ts',
  replaces: 'src/records/table.ts',
  starter: 'starter.ts',
  solution: 'solution.ts',
  checks: [
    {
      claim: 'new connections get the numbers 0, 1, 2',
      async run(work) {
        const { newTable, addEntry } = (await work.load()) as typeof Own;
        const table = newTable<string>();
        const ids = ['a', 'b', 'c'].map(entry => addEntry(table, entry));
        assert.deepEqual(ids, [0, 1, 2], `addEntry gave the numbers ${ids}, not 0, 1, 2.`);
      },
    },
    {
      claim: 'the lowest free number is given first',
      async run(work) {
        const { newTable, nextId, addEntry, removeEntry, freeClosedIds } = (await work.load()) as typeof Own;
        const table = newTable<string>();
        for (const entry of ['a', 'b', 'c', 'd']) addEntry(table, entry);
        for (const id of [2, 0]) removeEntry(table, id);
        freeClosedIds(table);
        const told = nextId(table);
        const ids = ['e', 'f', 'g'].map(entry => addEntry(table, entry));
        const message = `0 and 2 were free of 0 to 3, and addEntry gave ${ids}, not 0, 2, 4.`;
        assert.deepEqual(ids, [0, 2, 4], message);
        assert.equal(told, 0, `nextId said ${told}, but addEntry gave 0: both must agree.`);
      },
    },
    {
      claim: 'a released number is not given again in the same turn',
      async run(work) {
        const { newTable, addEntry, removeEntry, freeClosedIds } = (await work.load()) as typeof Own;
        const table = newTable<string>();
        for (const entry of ['a', 'b']) addEntry(table, entry);
        removeEntry(table, 0);
        const during = addEntry(table, 'c');
        assert.equal(during, 2, `0 was released in this turn, and addEntry gave ${during}, not 2.`);
        freeClosedIds(table);
        const later = addEntry(table, 'd');
        assert.equal(later, 0, `freeClosedIds made 0 free, and addEntry gave ${later}, not 0.`);
      },
    },
    {
      claim: 'a server with this table gives a new client the number of one that left',
      async run(work) {
        const server = await work.startServer('--log-level', 'debug');
        const ids = [await idOfNewClient(server, 1), await idOfNewClient(server, 2)];
        assert.equal(
          ids[1],
          ids[0],
          `the first client had the number ${ids[0]}, and the next one ${ids[1]}.`,
        );
      },
    },
  ],
};

/** Connects and disconnects. @returns the id in the log of the connection with this serial number */
async function idOfNewClient(server: ServerProcess, serial: number): Promise<unknown> {
  const socket = connect(server.port, '127.0.0.1');
  const entry = await server.untilLogged(
    ({ event, ...rest }) => event === 'connected' && rest['serial'] === serial,
  );
  socket.destroy();
  await server.untilLogged(({ event, id }) => event === 'closed' && id === entry['id']);
  return entry['id'];
}
