import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launchBrowser } from '../support/browser.ts';
import { connectMember, hearUntil } from '../support/chatClient.ts';
import { root } from '../support/documents.ts';
import {
  exampleCode,
  newWorkshop,
  runLines,
  runProgram,
  runShell,
  testExamples,
  type Workshop,
} from './examples.ts';

const openssl =
  'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost 2>err';

/** A server with a token, and someone in the room. */
async function startWithToken(t: TestContext): Promise<Workshop> {
  const workshop = newWorkshop();
  await runShell(t, workshop, exampleCode('README', 'sh --api-token'));
  const ada = await connectMember(workshop.server!.port, 'ada', 'pond', { path: '/tpacket' });
  await hearUntil(ada, 'NEW_USER uid=-1 p1=4096 p2=0 "ada"');
  t.after(() => ada.socket.destroy());
  return workshop;
}

testExamples('README', {
  'sh make serve': async (t, code) => {
    await runShell(t, newWorkshop(), code);
  },
  'sh alias': async (_, code) => {
    const [, ...scripts] = code.split('"').map(word => /\$PWD\/(dist\/\w+\.js)$/.exec(word)?.[1]);
    const found = scripts.filter(script => script !== undefined);
    assert.deepEqual(found, ['dist/server.js', 'dist/client.js']);
    for (const script of found) assert.ok(existsSync(new URL(script, root)), script);
    const checkout = newWorkshop();
    const lines = `cd '${fileURLToPath(root)}'\n${code}\npollywog --help\npollywog-client --help`;
    assert.match(await runLines(checkout, lines), /^Usage: pollywog .*\nUsage: pollywog-client /s);
  },
  'sh --data chats': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, code);
    await runLines(workshop, 'pollywog publish lobby hello');
    assert.match(
      readFileSync(join(workshop.folder, 'chats/messages.jsonl'), 'utf8'),
      /"channel":"lobby".*"hello"/,
    );
  },
  'sh --api-token': async (t, code) => {
    await runShell(t, newWorkshop(), code);
  },
  'html pollywog.js': async (t, code) => {
    const workshop = newWorkshop();
    const [makeToken = '', start = '', publish = ''] = exampleCode('README', 'sh /channels/orders').split(
      '\n',
    );
    await runShell(t, workshop, `${makeToken}\n${start}`);
    const { port } = workshop.server!;
    const browser = await launchBrowser();
    t.after(() => browser.close());
    // A page of another site, which has no rules for scripts.
    const page = await browser.newPage({ bypassCSP: true });
    await page.goto(`http://127.0.0.1:${port}/healthz`);
    await page.setContent(code.replaceAll('localhost:8080', `127.0.0.1:${port}`));
    // It has subscribed when a message reaches it.
    while (/"subscribers":0/.test(await runLines(workshop, publish))) await new Promise(setImmediate);
    await page.getByText('order 17 is paid').waitFor();
  },
  'sh /channels/orders': async (t, code) => {
    assert.match(await runShell(t, newWorkshop(), code), /^\{"id":"\S+-1","subscribers":0\}\n$/);
  },
  'sh /api/publish': async (t, code) => {
    assert.match(await runShell(t, await startWithToken(t), code), /^\{"sent":1,"id":"\S+"\}\n$/);
  },
  // They are run in php.test.ts, with the page.
  'php // auth.php': (_, code) => assert.equal(code, exampleCode('php', 'php // auth.php')),
  'sh --auth-url': (_, code) => assert.equal(code, exampleCode('php', 'sh --auth-url')),
  'php $header': async (t, code) => {
    const workshop = await startWithToken(t);
    const here = code
      .replace('localhost:8080', `127.0.0.1:${workshop.server!.port}`)
      .replace('/etc/pollywog/token', 'token');
    const printed = await runProgram(workshop, ['php', '-r', here.replace('<?php', '')]);
    assert.match(printed, /^\{"sent":1,"id":"\S+"\}\n$/);
  },
  'sh --spool': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, code);
    assert.match(await runLines(workshop, 'until cat spool/001.out 2>err; do :; done'), /^sent: 0\n/);
  },
  'sh #!/bin/sh': async (_, code) => {
    const workshop = newWorkshop({ 'shout.sh': code });
    assert.equal(await runLines(workshop, 'echo hello | ./shout.sh'), 'HELLO\n');
  },
  'sh --exec': async (t, code) => {
    const workshop = newWorkshop({ 'shout.sh': exampleCode('README', 'sh #!/bin/sh') });
    assert.equal(await runShell(t, workshop, code), 'HELLO\n');
  },
  'js counter': async (t, code) => {
    const workshop = newWorkshop({ 'handlers/counter.mjs': code });
    assert.equal(await runShell(t, workshop, exampleCode('README', 'sh --watch')), '1\n');
  },
  'sh --watch': async (t, code) => {
    const workshop = newWorkshop({ 'handlers/counter.mjs': exampleCode('README', 'js counter') });
    assert.equal(await runShell(t, workshop, code), '1\n');
  },
  'sh /poll/': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, 'pollywog');
    assert.equal(await runLines(workshop, code), '{"seq":1}\n{"messages":[{"seq":1,"text":"hello"}]}\n');
  },
  'sh --trust-proxy': async (t, code) => {
    await runShell(t, newWorkshop(), code);
  },
  'sh --tls-cert': async (t, code) => {
    const workshop = newWorkshop();
    await runLines(workshop, `${openssl} -keyout privkey.pem -out fullchain.pem`);
    await runShell(t, workshop, code);
    assert.equal(
      await runLines(workshop, 'pollywog-client -k wss://localhost:8080/echo -x hello -1'),
      'hello\n',
    );
  },
  'sh systemctl': async (t, code) => {
    await runShell(t, newWorkshop(), code);
  },
  'sh why 2': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, 'pollywog');
    // The first client has the id 2.
    await runLines(workshop, 'pollywog-client ws://localhost:8080/echo -x hello -1');
    assert.match(await runLines(workshop, `until pollywog why 2 >out 2>err; do :; done\n${code}`), /client/);
  },
  'sh --max-message': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, code);
    assert.match(
      await runLines(
        workshop,
        "head -c 2000 /dev/zero | tr '\\0' x | pollywog-client ws://localhost:8080/echo 2>&1 || echo $?",
      ),
      /1009.*\n5\n$/s,
    );
  },
});
