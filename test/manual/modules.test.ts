import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../support/documents.ts';
import { connectRaw, type RawClient } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { exampleCode, newWorkshop, runLines, runShell, testExamples } from './examples.ts';

const quiz = exampleCode('modules', 'js A quiz');
const start = exampleCode('modules', 'sh --watch');

const say = (client: RawClient, text: string) => client.send(frame(opcode.text, text));
const heard = async (client: RawClient) => (await client.nextFrame())?.payload.toString();

testExamples('modules', {
  'js A quiz': async t => {
    const workshop = newWorkshop({ 'handlers/quiz.mjs': quiz });
    await runShell(t, workshop, start.split('\n', 1)[0]!);
    const server = workshop.server!;
    const ada = await connectRaw(server.port, { path: '/quiz?ada' });
    const bob = await connectRaw(server.port, { headers: { 'Sec-WebSocket-Protocol': 'quiz' } });
    assert.equal(await heard(ada), 'welcome, ada; what is 0 + 2 * 1?');
    assert.equal(await heard(bob), 'welcome, nobody; what is 0 + 2 * 1?');
    say(bob, '3');
    assert.equal(await heard(bob), 'no');
    say(ada, '2');
    for (const client of [ada, bob]) {
      assert.equal(await heard(client), 'ada has it, 1 in all; what is 1 + 2 * 2?');
    }
    assert.match(await runLines(workshop, 'pollywog call quiz'), /players/);
    writeFileSync(join(workshop.folder, 'handlers/quiz.mjs'), quiz.replaceAll('2 * ', '3 * '));
    await server.untilLogged(({ event, connections }) => event === 'handler swapped' && connections === 2);
    say(ada, '7');
    for (const client of [ada, bob]) {
      assert.equal(await heard(client), 'ada has it, 2 in all; what is 2 + 3 * 3?');
    }
    ada.destroy();
    bob.destroy();
  },

  'sh --watch': async (t, code) => {
    const workshop = newWorkshop({ 'handlers/quiz.mjs': quiz });
    assert.equal(await runShell(t, workshop, code), 'welcome, ada; what is 0 + 2 * 1?\n');
  },

  'sh checkers': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, code, { 'test/examples': fileURLToPath(new URL('test/examples', root)) });
    const { port } = workshop.server!;
    assert.match(await (await fetch(`http://127.0.0.1:${port}/`)).text(), /<title>Checkers<\/title>/);
    const client = await connectRaw(port, { path: '/checkers' });
    say(client, JSON.stringify({ type: 'create', side: 'red', key: 'k'.repeat(22) }));
    assert.equal(await heard(client), '{"type":"you","sides":["red"]}');
    const { id } = JSON.parse((await heard(client))!);
    client.destroy();
    assert.match(
      readFileSync(join(workshop.folder, 'games/messages.jsonl'), 'utf8'),
      new RegExp(`checkers/${id}`),
    );
  },

  'sh ftplib': async (t, code) => {
    const examples = fileURLToPath(new URL('test/examples', root));
    const workshop = newWorkshop();
    const [server = '', client = ''] = code.split(/\n(?=python3)/);
    await runShell(t, workshop, server, { 'test/examples': examples });
    const here = { "'localhost', 2121": `'127.0.0.1', ${workshop.server!.port}` };
    assert.equal(await runShell(t, workshop, client, here), '230 welcome, ada /\n');
  },
});
