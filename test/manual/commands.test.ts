import assert from 'node:assert/strict';
import { newAudience } from './audience.ts';
import { runShell, testExamples } from './examples.ts';

testExamples('commands', {
  'sh pollywog list': async (t, code) => {
    const audience = await newAudience(t, 'pollywog');
    const printed = await runShell(t, audience, code);
    assert.match(printed, /ada.*sent: 2\nsent: 1\nsent: 1\nid: \S+\nUsage: pollywog send/s);
    await audience.hears('back in five minutes');
    assert.match(await audience.ada.hear(), /your tea is ready/);
    assert.match(await audience.ada.hear(), /LOGGED_MSG .*"server: .*20\d\d/);
  },
});
