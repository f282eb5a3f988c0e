import { newWorkshop, runShell, testExamples } from './examples.ts';

// Only whether make knows the targets: a measurement takes minutes.
testExamples('speed', {
  'sh make bench': async (t, code) => {
    await runShell(t, newWorkshop(), code);
  },
});
