import assert from 'node:assert/strict';
import { newWorkshop, runShell, testExamples } from './examples.ts';

testExamples('faults', {
  'sh faulty?masked': async (t, code) => {
    const printed = await runShell(t, newWorkshop(), code, { "masked'": "masked' 2>err || echo exit $?" });
    assert.equal(printed, 'hello\nexit 7\none\ntwo\ntwo\n');
  },

  'sh delay=200ms': async (t, code) => {
    assert.equal(await runShell(t, newWorkshop(), code), 'hello\n');
  },

  'sh fault all': async (t, code) => {
    // Redirected, the client does not keep the shell's output open. Its first message shows that it is connected.
    const isThere = 'until grep -qs hello out; do :; done';
    const printed = await runShell(t, newWorkshop(), code, {
      '-w 60s ws://localhost:8080/echo &': `-w 60s ws://localhost:8080/echo >out 2>err &\n${isThere}`,
    });
    assert.equal(printed, 'connections: 1\nconnections: 1\n');
  },
});
