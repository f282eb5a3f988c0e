/** The manual's own examples, taken out of it and run as they are written there. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { manualPage, root } from '../support/documents.ts';
import { newFolder } from '../support/modules.ts';
import { connectRaw, type RawClient } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { startServerFor, startServerWith } from '../support/serverProcess.ts';

function block(language: string, mark: string): string {
  const blocks = [...manualPage('modules').matchAll(/^```(\w+)\n(.*?)^```$/gms)];
  const found = blocks.find(([, name, text]) => name === language && text!.includes(mark));
  assert.ok(found, `the manual has no ${language} with ${mark}`);
  return found[2]!;
}

async function say(client: RawClient, text: string): Promise<void> {
  client.send(frame(opcode.text, text));
}

const heard = async (client: RawClient) => (await client.nextFrame())?.payload.toString();

test('the quiz is played, and changed while it is', async t => {
  const quiz = block('js', 'A quiz');
  const folder = newFolder({ 'quiz.mjs': quiz });
  const server = await startServerFor(t, '--handlers', folder.path, '--watch');
  const ada = await connectRaw(server.port, { path: '/quiz?ada' });
  const bob = await connectRaw(server.port, { headers: { 'Sec-WebSocket-Protocol': 'quiz' } });
  assert.equal(await heard(ada), 'welcome, ada; what is 0 + 2 * 1?');
  assert.equal(await heard(bob), 'welcome, nobody; what is 0 + 2 * 1?');
  await say(bob, '3');
  assert.equal(await heard(bob), 'no');
  await say(ada, '2');
  for (const client of [ada, bob])
    assert.equal(await heard(client), 'ada has it, 1 in all; what is 1 + 2 * 2?');
  folder.write('quiz.mjs', quiz.replaceAll('2 * ', '3 * '));
  await server.untilLogged(({ event, connections }) => event === 'handler swapped' && connections === 2);
  await say(ada, '7');
  for (const client of [ada, bob])
    assert.equal(await heard(client), 'ada has it, 2 in all; what is 2 + 3 * 3?');
});

test('an FTP client logs in as shown', async t => {
  const line = block('sh', 'ftplib')
    .split('\n')
    .find(text => text.startsWith('python3 '));
  const server = await startServerWith([
    ...['--control', 'none', '--config', 'none', '--log-format', 'json'],
    ...['--handlers', fileURLToPath(new URL('test/examples', root))],
    ...['--listen', 'tcp://127.0.0.1:0?greet'],
  ]);
  t.after(() => server.kill());
  const command = (line ?? '').replace('2121', String(server.port)).replace('localhost', '127.0.0.1');
  const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', text => {
    said += text;
  });
  assert.deepEqual(await once(child, 'close'), [0, null]);
  assert.equal(said, '230 welcome, ada /\n');
});
