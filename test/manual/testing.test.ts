import assert from 'node:assert/strict';
import { join } from 'node:path';
import { connectRaw } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { newWorkshop, runProgram, runShell, testExamples, writeFiles } from './examples.ts';

testExamples('testing', {
  // test/readme.test.ts compares it with the table of options.
  'output --script': () => {},

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

  'python subprocess': async (_, code) => {
    const workshop = newWorkshop({ 'example.py': code });
    assert.equal(await runProgram(workshop, ['/usr/bin/python3', 'example.py']), '200\n');
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
