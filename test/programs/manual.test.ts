/** The programs in the manual, as they stand there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { manualPage } from '../support/documents.ts';
import { connectRaw } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { nextShown, quoteWords, writeProgram } from './programs.ts';

const page = manualPage('programs');
const folder = temporaryFolder();

/** By what their first comment calls them, their paths. */
const programs = new Map<string, string>();
for (const [, text = ''] of page.matchAll(/^```\w+\n(#!.*?)^```$/gms)) {
  const [, name = ''] = /^# ([\w.]+):/m.exec(text) ?? [];
  programs.set(name, quoteWords(writeProgram(folder, name, text)));
}
/** What the manual says is to be started, by the same. */
const options = new Map<string, readonly string[]>();
for (const [, option = '', entry, name = ''] of page.matchAll(
  /(--exec(?:-shared)?) ([\w:]+)=\.\/([\w.]+)/g,
)) {
  options.set(name, [option, `${entry}=${programs.get(name)}`]);
}
const started = [...options.values()].flat();

test('the manual has four programs, and starts them', () => {
  assert.deepEqual([...programs.keys()], ['upper.sh', 'count.pl', 'digest.py', 'room.py']);
  assert.deepEqual([...options.keys()], [...programs.keys()]);
});

test('upper.sh: lines, in a shell', async t => {
  const server = await startServerFor(t, ...started);
  const client = await connectRaw(server.port, { path: '/upper' });
  client.send(frame(opcode.text, 'hello, world'), frame(opcode.text, ''), frame(opcode.text, '-n "$x" \\'));
  for (const due of ['HELLO, WORLD', '', '-N "$X" \\']) assert.equal(await nextShown(client), due);
  client.destroy();
});

test('count.pl: texts of several lines, in Perl', async t => {
  const server = await startServerFor(t, ...started);
  const client = await connectRaw(server.port, { headers: { 'Sec-WebSocket-Protocol': 'count' } });
  assert.equal(client.headers.get('sec-websocket-protocol'), 'count');
  client.send(frame(opcode.text, 'one\ntwo\n'), frame(opcode.text, 'ü'));
  for (const due of ['3 lines, 8 bytes', '1 lines, 2 bytes']) assert.equal(await nextShown(client), due);
  client.destroy();
});

test('digest.py: texts and bytes, in Python', async t => {
  const server = await startServerFor(t, ...started);
  const client = await connectRaw(server.port, { path: '/digest' });
  const digest = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  client.send(frame(opcode.text, 'abc'), frame(opcode.binary, 'abc'));
  for (const due of [digest, `0x${digest}`]) assert.equal(await nextShown(client), due);
  client.destroy();
});

test('room.py: one program for all, in Python', async t => {
  const server = await startServerFor(t, ...started);
  const ada = await connectRaw(server.port, { path: '/room?ada' });
  assert.equal(await nextShown(ada), 'ada came');
  const bob = await connectRaw(server.port, { path: '/room?bob' });
  for (const client of [ada, bob]) assert.equal(await nextShown(client), 'bob came');
  ada.send(frame(opcode.text, 'hi\nall'));
  assert.equal(await nextShown(bob), 'ada: hi\nall');
  bob.send(frame(opcode.text, '/quit'));
  assert.equal(await nextShown(bob), 'close 1000 goodbye');
  bob.send(frame(opcode.close, Buffer.from([3, 232])));
  assert.equal(await nextShown(ada), 'bob left');
  ada.destroy();
  bob.destroy();
});
