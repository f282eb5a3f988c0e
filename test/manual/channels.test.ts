import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import {
  exampleCode,
  newWorkshop,
  runLines,
  runProgram,
  runShell,
  testExamples,
  type Workshop,
} from './examples.ts';

async function startWithToken(t: TestContext): Promise<Workshop> {
  const workshop = newWorkshop();
  await runShell(t, workshop, exampleCode('channels', 'sh openssl').replace(/^curl.*\n/m, ''));
  return workshop;
}

/** @returns what the program printed, and the newest message of the channel `orders` without its id and time */
async function publishFrom(t: TestContext, code: string, file: string, ...program: string[]) {
  const workshop = await startWithToken(t);
  const here = code
    .replaceAll('localhost:8080', `127.0.0.1:${workshop.server?.port}`)
    .replaceAll('/etc/pollywog/', '');
  writeFileSync(join(workshop.folder, file), here);
  const printed = await runProgram(workshop, [...program, file]);
  return { printed, kept: await newest(workshop) };
}

async function newest(workshop: Workshop): Promise<object> {
  const [row] = JSON.parse(await runLines(workshop, 'pollywog history orders 1 --json')) as object[];
  const { id, time, ...others } = row as { id: string; time: string };
  assert.match(id, /^[a-z\d]{8}-\d+$/);
  assert.ok(!Number.isNaN(Date.parse(time)));
  return others;
}

testExamples('channels', {
  'sh openssl': async (t, code) => {
    const workshop = newWorkshop();
    const printed = await runShell(t, workshop, code.replace('curl', 'curl -s'));
    assert.match(printed, /^\{"id":"[a-z\d]+-1","subscribers":0\}\n$/);
    assert.deepEqual(await newest(workshop), { text: 'paid' });
  },
  'php <?php': async (t, code) => {
    const { printed, kept } = await publishFrom(t, code, 'example.php', 'php', '-d', 'display_errors=stderr');
    assert.equal(printed, '0 pages know');
    assert.deepEqual(kept, { data: { order: 17, state: 'paid' } });
  },
  'python import json': async (t, code) => {
    const { printed, kept } = await publishFrom(t, code, 'example.py', '/usr/bin/python3');
    assert.equal(printed, '0\n');
    assert.deepEqual(kept, { event: 'paid', data: { order: 17, state: 'paid' } });
  },
  'js Idempotency-Key': async (t, code) => {
    const { printed, kept } = await publishFrom(t, code, 'example.mjs', process.execPath);
    assert.equal(printed, '200 0\n');
    assert.deepEqual(kept, { text: 'order 17 is paid' });
  },
  'perl HTTP::Tiny': async (t, code) => {
    const { printed, kept } = await publishFrom(t, code, 'example.pl', 'perl', '-w');
    assert.match(printed, /^\{"id":"[a-z\d]+-1","subscribers":0\}\n$/);
    assert.deepEqual(kept, { text: 'order 17 is paid' });
  },
  'sh pollywog channels': async (t, code) => {
    const workshop = await startWithToken(t);
    const printed = await runShell(t, workshop, code);
    assert.match(
      printed,
      /^sent: 0\nid: \S+\nsent: 0\nid: \S+\nname +websocket .*\nnews +0 +0 +0 +0 +1 .*\norders +0 +0 +0 +0 +1 /,
    );
    assert.match(
      printed,
      /\[\{"id":"\S+","time":"\S+","event":"paid","data":\{"order":17\}\}\]\nforgotten: 1\n$/,
    );
  },
});
