import assert from 'node:assert/strict';
import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { listen } from '../../src/index.ts';
import { parseScript } from '../../src/scripts/parse.ts';
import { checkPlayable } from '../../src/scripts/playable.ts';
import { manualPage, root } from '../support/documents.ts';
import { connectRaw } from '../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';
import { exampleCode, newWorkshop, runLines, runProgram, runShell, testExamples } from './examples.ts';
import { linkPackage } from './inProcess.ts';

const scriptFiles = () => ({ 'scripts/greeting.txt': exampleCode('scripts', 'txt introduces') });

testExamples('scripts', {
  'txt introduces': (_, code) => void parseScript('greeting', code),

  'sh pollywog --script': async (t, code) => void (await runShell(t, newWorkshop(scriptFiles()), code)),

  'sh pollywog-client': async (t, code) => {
    const workshop = newWorkshop(scriptFiles());
    await runShell(t, workshop, exampleCode('scripts', 'sh pollywog --script'));
    // The second client fails, and says why to stderr.
    assert.equal(
      await runLines(workshop, `${code.trimEnd()} 2>&1 || true`),
      exampleCode('scripts', 'output hello, ada'),
    );
  },
  'output hello, ada': () => {},

  'js import { listen }': async (_, code) => {
    const workshop = newWorkshop({ 'example.mjs': code });
    linkPackage(workshop);
    symlinkSync(fileURLToPath(new URL('node_modules/ws', root)), join(workshop.folder, 'node_modules/ws'));
    const printed = await runProgram(workshop, [process.execPath, 'example.mjs']);
    assert.equal(printed, 'script differs 2 text "I am {{name?}}" text "My name is Ada"\n');
  },

  'txt RSV1': async (t, code) => {
    const workshop = newWorkshop({ 'scripts/broken.txt': code });
    await runShell(t, workshop, exampleCode('scripts', 'sh pollywog --script'));
    const client = await connectRaw(workshop.server!.port, { path: '/script/broken' });
    const heard = [
      await client.nextFrame(),
      await client.nextFrame(),
      await client.nextFrame(),
      await client.nextFrame(),
    ];
    assert.deepEqual(
      heard.map(one => [one?.rsv, one?.opcode, one?.fin]),
      [
        [4, 1, true],
        [0, 3, true],
        [0, 2, true],
        [0, 9, false],
      ],
    );
    client.send(closeFrame(1002));
    await workshop.server!.untilLogged(({ event }) => event === 'script played');
    client.destroy();
  },

  'sh sed -n': async (t, code) => {
    const workshop = newWorkshop(scriptFiles());
    const { folder } = workshop;
    const logFile = join(folder, 'pollywog.log');
    const server = await listen({ script: join(folder, 'scripts'), trace: true, logFile });
    const client = await connectRaw(server.port, { path: '/script/greeting' });
    client.send(frame(opcode.text, 'I am ada'));
    await client.nextFrame();
    client.send(closeFrame(1000));
    await client.remainingFrames();
    await server.close();
    await runShell(t, workshop, code);
    const lines = readFileSync(join(folder, 'scripts/session.txt'), 'utf8').split('\n');
    assert.deepEqual(
      parseScript('session', lines.join('\n')).steps.map(({ source }) => source),
      [
        'text, 8 bytes: "I am ada" [final, masked]',
        'text, 10 bytes: "hello, ada" [final]',
        'close, 13 bytes: 1000 (normal closure) "that is all" [final]',
        'close, 2 bytes: 1000 (normal closure) [final, masked]',
      ],
    );
  },
});

test('the parser accepts every line in the table of the language', () => {
  const [, rows = ''] = /^\| line \| meaning \|\n\|[-|]+\|\n(.*?)\n\n/ms.exec(manualPage('scripts')) ?? [];
  const lines = rows.split('\n').flatMap(row => row.split('|')[1]!.match(/(?<=`)[^`]+(?=`)/g) ?? []);
  const kinds = lines.filter(line => /^[<>\w]/.test(line));
  assert.ok(kinds.length > 25);
  for (const line of kinds.filter(one => one !== 'x' && one !== 'end')) {
    const text = line.startsWith('repeat') ? `${line}\n> ping\nend` : line;
    const before = line.includes('{{id}}') ? 'set id "1"\n' : '';
    assert.doesNotThrow(() => checkPlayable(parseScript('row', before + text), 'server'), line);
  }
});
