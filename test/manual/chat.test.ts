import assert from 'node:assert/strict';
import { connectMember, hearUntil } from '../support/chatClient.ts';
import { firstLine, newWorkshop, runShell, testExamples } from './examples.ts';

testExamples('chat', {
  'sh --data chats': async (t, code) => {
    const [start = '', tail = '', ...more] = code.trim().split('\n');
    assert.deepEqual(more, []);
    const workshop = newWorkshop();
    await runShell(t, workshop, start);
    const ada = await connectMember(workshop.server!.port, 'ada', 'lobby', { path: '/tpacket' });
    await hearUntil(ada, 'NEW_USER uid=-1 p1=4096 p2=0 "ada"');
    await runShell(t, workshop, 'pollywog publish lobby hello');
    assert.match(await firstLine(workshop, tail), /^\{.*"hello".*\}$/);
    ada.socket.destroy();
  },
});
