import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectMember, hearUntil } from '../support/chatClient.ts';
import { type Audience, newAudience } from './audience.ts';
import {
  exampleCode,
  newWorkshop,
  type Runner,
  runProgram,
  runShell,
  testExamples,
  type Workshop,
} from './examples.ts';

const start = exampleCode('http', 'sh openssl');

const programs: Readonly<Record<string, readonly string[]>> = {
  sh: ['sh', '-e'],
  // A page has what was posted to it.
  php: ['php', '-d', 'display_errors=stderr', '-d', 'auto_prepend_file=posted.inc'],
  perl: ['perl', '-w'],
  python: ['/usr/bin/python3'],
};

/** The example with the port and the token of this test. */
function atWorkshop({ server }: Workshop, code: string): string {
  return code
    .replaceAll('localhost:8080', `127.0.0.1:${server?.port}`)
    .replaceAll('/etc/pollywog/token', 'token');
}

/** @returns what it printed. @throws Error if it fails, or prints anything to stderr */
async function runFile(workshop: Workshop, language: string, code: string): Promise<string> {
  assert.ok(code.trim().split('\n').length <= 6, 'it is short');
  const file = join(workshop.folder, `example.${language}`);
  writeFileSync(file, atWorkshop(workshop, code));
  writeFileSync(join(workshop.folder, 'posted.inc'), "<?php $_POST = ['number' => '1234'];");
  return runProgram(workshop, [...programs[language]!, file]);
}

/** One runner for each language. */
function inEach(mark: string, check: (audience: Audience, printed: string) => void | Promise<void>) {
  const runners = Object.keys(programs).map((language): [string, Runner] => [
    `${language} ${mark}`,
    async (t, code) => {
      const audience = await newAudience(t, start);
      await check(audience, await runFile(audience, language, code));
    },
  ]);
  return Object.fromEntries(runners);
}

testExamples('http', {
  'sh openssl': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, code);
    assert.equal(statSync(join(workshop.folder, 'token')).mode & 0o777, 0o600);
  },
  ...inEach('/api/broadcast', async (audience, printed) => {
    assert.equal(printed, '{"sent":2}\n');
    await audience.hears('back in five minutes');
  }),
  ...inEach('/api/list', (_, printed) => assert.match(printed, /^ *3\b.* 127\.0\.0\.1:\d+ +ada\b/m)),
  'php /api/publish': async (t, code) => {
    const audience = await newAudience(t, start);
    assert.equal(await runFile(audience, 'php', code), 'Thank you.', 'nobody was in the room');
    const orders = await connectMember(audience.server!.port, 'bob', 'orders', { path: '/tpacket' });
    await hearUntil(orders, 'LOGGED_MSG uid=-1 p1=0 p2=0 "server: order 1234 is paid"');
    assert.equal(await runFile(audience, 'php', code), 'Thank you, the shop has been told.');
    orders.socket.destroy();
  },
});
