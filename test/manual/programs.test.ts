import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { nextShown } from '../handlers/programs/programs.ts';
import { openSocket } from '../support/channelClients.ts';
import { type ConnectOptions, connectRaw, type RawClient } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { exampleCode, examplesOf, newWorkshop, runShell, testExamples, type Workshop } from './examples.ts';

/** The programs by the names in their first comments. */
const programs = Object.fromEntries(
  examplesOf('programs')
    .filter(({ code }) => code.startsWith('#!'))
    .map(({ code }) => [/^# ([\w.]+):/m.exec(code)![1]!, code]),
);
const [start = '', ...clients] = exampleCode('programs', 'sh --exec-shared')
  .replaceAll('\\\n', ' ')
  .trim()
  .split('\n');

async function startAll(t: TestContext): Promise<Workshop> {
  const workshop = newWorkshop(programs);
  await runShell(t, workshop, start);
  return workshop;
}

async function connect(t: TestContext, workshop: Workshop, options: ConnectOptions): Promise<RawClient> {
  const client = await connectRaw(workshop.server!.port, options);
  t.after(() => client.destroy());
  return client;
}

testExamples('programs', {
  'sh # upper.sh': async t => {
    const client = await connect(t, await startAll(t), { path: '/upper' });
    client.send(frame(opcode.text, 'hello, world'), frame(opcode.text, ''), frame(opcode.text, '-n "$x" \\'));
    for (const due of ['HELLO, WORLD', '', '-N "$X" \\']) assert.equal(await nextShown(client), due);
  },

  'perl # count.pl': async t => {
    const client = await connect(t, await startAll(t), { headers: { 'Sec-WebSocket-Protocol': 'count' } });
    assert.equal(client.headers.get('sec-websocket-protocol'), 'count');
    client.send(frame(opcode.text, 'one\ntwo\n'), frame(opcode.text, 'ü'));
    for (const due of ['3 lines, 8 bytes', '1 lines, 2 bytes']) assert.equal(await nextShown(client), due);
  },

  'php # clock.php': async t => {
    const client = await connect(t, await startAll(t), { path: '/clock' });
    client.send(frame(opcode.text, '\\o\\k'));
    assert.equal(await nextShown(client), 'ok');
  },

  'python # digest.py': async t => {
    const client = await connect(t, await startAll(t), { path: '/digest' });
    const digest = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
    client.send(frame(opcode.text, 'abc'), frame(opcode.binary, 'abc'));
    for (const due of [digest, `0x${digest}`]) assert.equal(await nextShown(client), due);
  },

  'python # room.py': async t => {
    const workshop = await startAll(t);
    const ada = await connect(t, workshop, { path: '/room?ada' });
    assert.equal(await nextShown(ada), 'ada came');
    const bob = await connect(t, workshop, { path: '/room?bob' });
    for (const client of [ada, bob]) assert.equal(await nextShown(client), 'bob came');
    ada.send(frame(opcode.text, 'hi\nall'));
    assert.equal(await nextShown(bob), 'ada: hi\nall');
    bob.send(frame(opcode.text, '/quit'));
    assert.equal(await nextShown(bob), 'close 1000 goodbye');
    bob.send(frame(opcode.close, Buffer.from([3, 232])));
    assert.equal(await nextShown(ada), 'bob left');
  },

  'python # orders.py': async t => {
    const workshop = await startAll(t);
    const subscriber = await openSocket(workshop.server!.port, '/channels/orders?format=json');
    t.after(() => subscriber.socket.terminate());
    await subscriber.next();
    const client = await connect(t, workshop, { path: '/order' });
    client.send(frame(opcode.text, 'two'), frame(opcode.text, '17'));
    assert.equal(await nextShown(client), 'an order is a number');
    assert.equal(await nextShown(client), 'ordered');
    const { event, data } = await subscriber.nextJson();
    assert.deepEqual({ event, data }, { event: 'ordered', data: { order: 17 } });
  },

  'json {"publish"': async (t, code) => {
    const workshop = newWorkshop({ 'record.json': code });
    await runShell(t, workshop, 'pollywog --exec-shared "x:json=cat record.json"');
    const subscriber = await openSocket(workshop.server!.port, '/channels/orders?format=json&last=1');
    t.after(() => subscriber.socket.terminate());
    await subscriber.next();
    const { event, data } = await subscriber.nextJson();
    assert.deepEqual({ event, data }, { event: 'ordered', data: { order: 17 } });
  },

  'sh --exec-shared': async t => {
    assert.deepEqual(
      Object.keys(programs).filter(name => !start.includes(`=./${name}`)),
      [],
      'it starts all programs',
    );
    const workshop = await startAll(t);
    assert.equal(await runShell(t, workshop, clients.join('\n')), 'HELLO\nada came\n');
  },

  'sh --exec "load=': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, code);
    const client = await connect(t, workshop, { path: '/load' });
    assert.match(await nextShown(client), /^[\d. ]+$/);
  },
});
