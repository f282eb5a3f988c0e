import assert from 'node:assert/strict';
import { newPacket, readPacket, showPacket } from '../../src/protocol/tpacket.ts';
import { connectMember, hearUntil } from '../support/chatClient.ts';
import { newWorkshop, runShell, testExamples } from './examples.ts';

testExamples('packets', {
  'output 456a3840': (_, code) => {
    const bytes = Buffer.from(code.replace(/\s/g, ''), 'hex');
    const packet = newPacket();
    assert.equal(readPacket(packet, bytes, 0, bytes.length), bytes.length);
    assert.equal(showPacket(packet), 'NEW_MSG uid=1 p1=0 p2=0 "hi"');
  },

  'sh tpacket': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, code);
    const ada = await connectMember(workshop.server!.port, 'ada', 'pond', { path: '/' });
    await hearUntil(ada, 'NEW_USER uid=-1 p1=4096 p2=0 "ada"');
    ada.socket.destroy();
  },
});
