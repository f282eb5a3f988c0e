import assert from 'node:assert/strict';
import { join } from 'node:path';
import { skipUnlessLinux } from '../support/linux.ts';
import { verifyUnits } from '../support/systemd.ts';
import { exampleCode, newWorkshop, runLines, runShell, testExamples } from './examples.ts';

testExamples('tls', {
  'sh openssl req': async (t, code) => {
    const workshop = newWorkshop();
    const [make = '', use = ''] = code.split(/\n(?=pollywog --tls)/);
    await runLines(workshop, `${make} 2>openssl.err`);
    assert.equal(await runShell(t, workshop, use), 'hello\n');
  },

  'ini [Service]': (t, code) => {
    if (skipUnlessLinux(t, 'systemd')) return;
    verifyUnits(newWorkshop().folder, { 'pollywog.service': code });
  },

  'sh letsencrypt': async (t, code) => {
    const workshop = newWorkshop();
    const [make = ''] = exampleCode('tls', 'sh openssl req').split(/\n(?=pollywog)/);
    await runLines(workshop, `${make} 2>openssl.err; mv cert.pem fullchain.pem; mv key.pem privkey.pem`);
    const live = '/etc/letsencrypt/live/example.com/';
    await runShell(t, workshop, code, { [live]: join(workshop.folder, '/') });
    assert.equal(
      await runLines(workshop, 'pollywog-client -k wss://localhost:8080/echo -x hello -1'),
      'hello\n',
    );
  },
});
