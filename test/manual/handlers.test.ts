import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createContext, runInContext } from 'node:vm';
import { WebSocket } from 'ws';
import { newWorkshop, runShell, testExamples } from './examples.ts';

testExamples('handlers', {
  'js new WebSocket': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, 'pollywog');
    const heard: unknown[] = [];
    const page = createContext({ WebSocket, console: { log: (data: unknown) => heard.push(data) } });
    runInContext(code.replace('localhost:8080', `127.0.0.1:${workshop.server!.port}`), page);
    const socket = runInContext('s', page) as WebSocket;
    await once(socket, 'message');
    assert.deepEqual(heard, ['hello']);
    socket.close();
    await once(socket, 'close');
  },
});
