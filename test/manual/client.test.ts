import assert from 'node:assert/strict';
import { newWorkshop, runShell, testExamples } from './examples.ts';

testExamples('client', {
  'sh pollywog-client': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, 'pollywog');
    const [lines, chat] = code.split(/\n(?=.*--nick)/);
    assert.equal(await runShell(t, workshop, lines!), 'hello\nhello\n100000\n');
    await runShell(t, workshop, `${chat!.replace(/ +#.*/, '').trim()} -x hello`);
    assert.match(await runShell(t, workshop, 'pollywog history pond'), /ada.*hello/);
  },
});
