/** The examples of the page on access. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readCredentials } from '../../src/access/credentials.ts';
import type { Identity } from '../../src/access/records.ts';
import { matchesPattern } from '../../src/protocol/pattern.ts';
import { accessOf, siteSecret } from '../support/tokens.ts';
import { exampleCode, newWorkshop, type Runner, runProgram, runShell, testExamples } from './examples.ts';

const programs: Readonly<Record<string, readonly string[]>> = {
  php: ['php', '-d', 'display_errors=stderr'],
  python: ['/usr/bin/python3'],
};

/** Runs the example, and identifies a client that uses the URL which it prints. */
function identifies(language: string, check: (identity: Identity) => void, start = ''): Runner {
  return async (_, code) => {
    assert.ok(code.trim().split('\n').length <= 6, 'it is short');
    const workshop = newWorkshop({ key: `${siteSecret}\n` });
    const file = join(workshop.folder, `example.${language}`);
    writeFileSync(file, code.replaceAll('/etc/pollywog/key', 'key'));
    const target = start + (await runProgram(workshop, [...programs[language]!, file])).trim();
    const [path = '', query = ''] = target.split('?');
    const head = {
      method: 'GET',
      target,
      path,
      query,
      version: '1.1',
      headers: new Map(),
      bodyLength: 0,
    } as const;
    const { identity, fault } = readCredentials(accessOf(), head, Date.now());
    assert.ok(identity !== undefined, fault);
    assert.equal(identity.user, '17');
    assert.ok(identity.expiresAt! > Date.now() + 3_000_000);
    check(identity);
  };
}

const hasOrders = ({ subscribe, publish }: Identity) => {
  assert.deepEqual([subscribe.length, publish.length], [1, 0]);
  assert.ok(matchesPattern(subscribe[0]!, 'orders-1'));
  assert.ok(!matchesPattern(subscribe[0]!, 'other'));
};

testExamples('access', {
  'json "allow"': async (t, code) => {
    const workshop = newWorkshop({
      'access.json': code.replace('/etc/pollywog/key', 'key'),
      key: siteSecret,
    });
    assert.match(await runShell(t, workshop, 'pollywog checkconfig access.json'), /is valid/);
    await runShell(t, workshop, 'pollywog --config access.json');
  },
  'sh pollywog allowed': async (t, code) => {
    const workshop = newWorkshop({ 'access.json': exampleCode('access', 'json "allow"') });
    assert.equal(await runShell(t, workshop, code), exampleCode('access', 'output connect'));
  },
  'output connect': () => {},
  'php token.php': identifies('php', hasOrders, '/echo?token='),
  'python claims': identifies('python', hasOrders, '/echo?token='),
  'php link.php': identifies('php', hasOrders),
  'python url.quote': identifies('python', hasOrders),
});
