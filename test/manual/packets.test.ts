import { connectMember, hearUntil } from '../support/chatClient.ts';
import { newWorkshop, runShell, testExamples } from './examples.ts';

testExamples('packets', {
  'sh tpacket': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, code);
    const ada = await connectMember(workshop.server!.port, 'ada', 'pond', { path: '/' });
    await hearUntil(ada, 'NEW_USER uid=-1 p1=4096 p2=0 "ada"');
    ada.socket.destroy();
  },
});
