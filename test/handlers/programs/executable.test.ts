/** Scripts that the system cannot start: the error names the problem with the first line. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { scriptFault } from '../../../src/handlers/programs/executable.ts';
import { connectRaw } from '../../support/rawClient.ts';
import { serverScript, startServerFor } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';
import { nextShown, quoteWords, writeProgram } from './programs.ts';

const folder = temporaryFolder();
const faultOf = (text: string) => scriptFault(writeProgram(folder, 'script', text));

test('CRLF line ends, byte order marks and missing interpreters are detected', () => {
  for (const text of [
    '#!/bin/sh\r\necho\r\n',
    '#!/usr/bin/env sh\r\n',
    '#! /bin/sh\r',
    '#!/usr/bin/env -S sh -e\r\n',
  ])
    assert.match(faultOf(text)!, /^has CRLF line ends, .* convert them to LF/, JSON.stringify(text));
  assert.match(faultOf('\ufeff#!/bin/sh\necho\n')!, /^begins with a byte order mark/);
  for (const [text, name] of [
    ['#!/no/such/python\n', '/no/such/python'],
    ['#! /no/such -u\n', '/no/such'],
    ['#!/usr/bin/env no-such-program\n', 'no-such-program'],
    ['#!/usr/bin/env -S A=b no-such-program -x\n', 'no-such-program'],
  ] as const)
    assert.ok(faultOf(text)?.startsWith(`needs the interpreter "${name}", which does not exist`), text);
});

test('a script that the system can start has no fault', () => {
  for (const text of [
    ...['#!/bin/sh\necho\n', '#! /bin/sh -e\necho\r\n', '#!/usr/bin/env sh\n', '#!/usr/bin/env -S sh -e\n'],
    ...['#!/usr/bin/env -i sh\n', '#!/usr/bin/env A=b sh\n', '', 'echo\r\n', '\x7fELF', '#!', '#!\n'],
  ])
    assert.equal(faultOf(text), undefined, JSON.stringify(text));
  assert.equal(scriptFault(process.execPath), undefined);
  assert.equal(scriptFault(folder), undefined);
});

test('the server does not start with a faulty script', () => {
  const path = writeProgram(folder, 'windows', '#!/bin/sh\r\necho hello\r\n');
  for (const how of ['--exec', '--exec-shared']) {
    const { status, stderr } = spawnSync(process.execPath, [
      serverScript,
      '-p',
      '0',
      how,
      `x=${quoteWords(path)}`,
    ]);
    assert.equal(status, 2);
    assert.match(stderr.toString(), /^pollywog: the program ".*windows" of the handler x has CRLF line ends/);
  }
});

test('the log explains a script that becomes faulty later', async t => {
  const path = writeProgram(folder, 'later', '#!/bin/sh\nexec cat\n');
  const env = writeProgram(folder, 'env', '#!/usr/bin/env sh\nexec cat\n');
  const server = await startServerFor(
    t,
    ...['--exec', `x=${quoteWords(path)}`, '--exec', `y=${quoteWords(env)}`],
  );
  writeProgram(folder, 'later', '#!/bin/sh\r\nexec cat\r\n');
  writeProgram(folder, 'env', '#!/usr/bin/env sh\r\nexec cat\r\n');
  const client = await connectRaw(server.port, { path: '/x' });
  assert.equal(await nextShown(client), 'close 1011 the program could not be started');
  const { why } = await server.untilLogged(({ event }) => event === 'program not started');
  assert.match(String(why), /later has CRLF line ends/);
  // `env` starts, but does not find "sh\r".
  const other = await connectRaw(server.port, { path: '/y' });
  assert.equal(await nextShown(other), 'close 1011 the program failed');
  const ended = await server.untilLogged(({ event }) => event === 'program ended');
  assert.deepEqual([ended['with'], /env has CRLF line ends/.test(String(ended['why']))], [127, true]);
  for (const one of [client, other]) one.destroy();
});
