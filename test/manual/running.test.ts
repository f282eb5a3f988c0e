import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { skipUnlessLinux } from '../support/linux.ts';
import { verifyUnits } from '../support/systemd.ts';
import { newWorkshop, runLines, runShell, testExamples } from './examples.ts';

testExamples('running', {
  'sh --daemon': async (_, code) => {
    const workshop = newWorkshop();
    const at = (name: string) => join(workshop.folder, name);
    const settings = {
      POLLYWOG_PORT: '0',
      POLLYWOG_HOST: '127.0.0.1',
      POLLYWOG_CONFIG: 'none',
      POLLYWOG_PID_FILE: at('pollywog.pid'),
      POLLYWOG_LOG_FILE: at('pollywog.log'),
    };
    const exported = Object.entries(settings).map(([name, value]) => `export ${name}='${value}'`);
    const [start = '', reload = '', stop = '', ...more] = code.trim().split('\n');
    assert.deepEqual(more, []);
    const here = (line: string) =>
      runLines(workshop, [...exported, line.replace('/run/pollywog.pid', at('pollywog.pid'))].join('\n'));
    assert.match(await here(start), /^pollywog listens on http:\/\/127\.0\.0\.1:\d+ \(pid \d+\)\n/);
    const pid = Number(readFileSync(at('pollywog.pid'), 'utf8'));
    await here(reload);
    await here(stop);
    await runLines(workshop, `while kill -0 ${pid} 2>kill.err; do :; done`);
    assert.ok(!existsSync(at('pollywog.pid')));
    assert.match(readFileSync(at('pollywog.log'), 'utf8'), /reload/);
  },

  'sh systemctl': async (t, code) => {
    await runShell(t, newWorkshop(), code);
  },

  'sh chgrp': async (_, code) => {
    const workshop = newWorkshop();
    const group = (await runLines(workshop, 'id -gn')).trim();
    const here = code.replaceAll('/etc/pollywog', workshop.folder).replace('www-data', group);
    assert.equal(
      await runLines(workshop, `${here}stat -c '%a %G' ${workshop.folder}/publish-token`),
      `640 ${group}\n`,
    );
  },

  'ini SupplementaryGroups': (t, code) => {
    if (skipUnlessLinux(t, 'systemd')) return;
    verifyUnits(newWorkshop().folder, { 'pollywog.service': code });
  },

  'json publish-token': async (t, code) => {
    const here = code.replace('/etc/pollywog/publish-token', 'token').replace('/var/lib/pollywog', 'data');
    const workshop = newWorkshop({ 'pollywog.json': here, token: 'correct-horse-battery' });
    assert.match(await runShell(t, workshop, 'pollywog checkconfig pollywog.json'), /is valid/);
    await runShell(t, workshop, 'pollywog --config pollywog.json');
    const publish =
      'curl -s -d paid -H "Authorization: Bearer $(cat token)" http://localhost:8080/channels/orders';
    assert.match(
      await runLines(workshop, publish.replace('8080', String(workshop.server!.port))),
      /"subscribers":0/,
    );
  },

  'ini [Socket]': (t, code) => {
    if (skipUnlessLinux(t, 'systemd')) return;
    verifyUnits(newWorkshop().folder, { 'pollywog.socket': code });
  },

  'sh unix:/run': async (t, code) => {
    const workshop = newWorkshop();
    const group = (await runLines(workshop, 'id -gn')).trim();
    const here = { 'unix:/run/pollywog/': `unix:${workshop.folder}/`, 'www-data': group };
    await runShell(t, workshop, code, here);
    assert.equal(
      await runLines(
        workshop,
        "curl -s --unix-socket web.sock -o /dev/null -w '%{http_code}' http://localhost/healthz",
      ),
      '200',
    );
  },
});
