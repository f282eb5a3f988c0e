import { newWorkshop, runShell, testExamples } from './examples.ts';

// test/install/ installs; here the targets and variables are looked at.
testExamples('install', {
  'sh make install': async (t, code) => {
    await runShell(t, newWorkshop(), code);
  },
});
