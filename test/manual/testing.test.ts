import assert from 'node:assert/strict';
import { join } from 'node:path';
import { connectRaw } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { newWorkshop, type Runner, runProgram, runShell, testExamples, writeFiles } from './examples.ts';
import { linkPackage } from './inProcess.ts';

const checkSyntax: Runner = async (_, code) => {
  const workshop = newWorkshop({ 'example.mjs': code });
  assert.equal(await runProgram(workshop, [process.execPath, '--check', 'example.mjs']), '');
};

testExamples('testing', {
  // test/readme.test.ts compares it with the table of options.
  'output --script': () => {},

  'js node:test': async (_, code) => {
    const workshop = newWorkshop({ 'quiz.test.mjs': code });
    linkPackage(workshop);
    const printed = await runProgram(workshop, [
      'env',
      '-u',
      'NODE_TEST_CONTEXT',
      process.execPath,
      '--test',
      '.',
    ]);
    assert.match(printed, /^(?:#|ℹ) pass 2$/m);
    assert.match(printed, /^(?:#|ℹ) fail 0$/m);
  },

  // `make examples` installs these test runners and runs the examples.
  'js vitest': checkSyntax,
  'js @jest/globals': checkSyntax,
  'js @playwright/test': checkSyntax,
  'go golang.org': () => {},

  'python pytest': async (_, code) => {
    const workshop = newWorkshop({ 'test_echo.py': code });
    const words = ['/usr/bin/python3', '-m', 'pytest', '-q', '-p', 'no:cacheprovider'];
    assert.match(await runProgram(workshop, words), /^1 passed/m);
  },

  'js createInterface': async (_, code) => {
    const workshop = newWorkshop({ 'example.mjs': code });
    writeFiles(workshop.folder, { 'bin/pollywog-config': '' });
    assert.equal(
      await runProgram(workshop, [
        'sh',
        '-c',
        `"${process.execPath}" "${join(workshop.folder, 'example.mjs')}" 2>log`,
      ]),
      '200\n',
    );
  },

  'js as you asked': async (t, code) => {
    const workshop = newWorkshop({ 'handlers/faults.mjs': code });
    await runShell(t, workshop, 'pollywog --handlers handlers');
    const client = await connectRaw(workshop.server!.port, { path: '/faults' });
    client.send(
      frame(opcode.text, 'large 3'),
      frame(opcode.text, 'late 1'),
      frame(opcode.text, 'close 4000'),
    );
    const heard = [await client.nextFrame(), await client.nextFrame(), await client.nextFrame()];
    assert.deepEqual(
      heard.map(one => one?.payload.toString('latin1')),
      ['xxx', 'late', '\x0f\xa0as you asked'],
    );
    client.destroy();
  },
});
