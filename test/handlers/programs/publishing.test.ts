/** Records of programs that publish in channels. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { openSocket, type SocketSubscriber } from '../../support/channelClients.ts';
import { connectRaw, type RawClient } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { type ServerProcess, startServerFor } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';
import { untilLogged } from '../../support/untilLogged.ts';
import { nextShown, quoteWords, writeProgram } from './programs.ts';

const folder = temporaryFolder();

/** Writes each text that it gets as a record of its own, and one more at the end of its input. */
const raw = writeProgram(
  folder,
  'raw.py',
  `#!/usr/bin/python3
import json, sys
for line in sys.stdin:
    record = json.loads(line)
    if 'text' in record: print(record['text'].replace('LONG', 'x' * 1025), flush=True)
print('{"text":"lost"}\\n{"publish":"orders","data":"the end"}', flush=True)
`,
);
const kinds = ['--exec', '--exec-shared'] as const;

interface Stage {
  readonly server: ServerProcess;
  readonly client: RawClient;
  readonly subscriber: SocketSubscriber;
}

async function start(t: TestContext, kind: string, ...options: string[]): Promise<Stage> {
  const server = await startServerFor(t, kind, `raw:json=${quoteWords(raw)}`, ...options);
  const subscriber = await openSocket(server.port, '/channels/orders?format=json');
  await subscriber.next();
  const client = await connectRaw(server.port, { path: '/raw' });
  t.after(() => {
    subscriber.socket.terminate();
    client.destroy();
  });
  return { server, client, subscriber };
}

async function nextMessage(subscriber: SocketSubscriber): Promise<string> {
  return String(await subscriber.next()).replace(/^\{"id":"[^"]*","channel":"orders",/, '{');
}

for (const kind of kinds) {
  test(`a program of ${kind} publishes text, JSON as it wrote it, and bytes`, async t => {
    const { client, subscriber } = await start(t, kind);
    client.send(
      frame(opcode.text, '{"publish":"orders","data":"päid"}'),
      frame(
        opcode.text,
        '{"publish":"orders","data": {"order":12345678901234567890} ,"event":"new","ttl":60}',
      ),
      frame(opcode.text, '{"base64":"AAEC","publish":"orders"}'),
    );
    assert.equal(await nextMessage(subscriber), '{"data":"päid"}');
    assert.equal(await nextMessage(subscriber), '{"event":"new","data":{"order":12345678901234567890}}');
    assert.equal(await nextMessage(subscriber), '{"base64":"AAEC"}');
  });

  test(`a program of ${kind} that repeats a key publishes once`, async t => {
    const { client, subscriber } = await start(t, kind);
    for (const data of ['once', 'twice'])
      client.send(frame(opcode.text, `{"publish":"orders","data":"${data}","key":"7"}`));
    client.send(frame(opcode.text, '{"publish":"orders","data":"next"}'));
    assert.equal(await nextMessage(subscriber), '{"data":"once"}');
    assert.equal(await nextMessage(subscriber), '{"data":"next"}');
  });

  test(`a publication of ${kind} that exceeds --max-message is refused in the log, and the next one published`, async t => {
    const { server, client, subscriber } = await start(t, kind, '--max-message', '1KB');
    client.send(
      frame(opcode.text, '{"publish":"orders","data":"LONG"}'),
      frame(opcode.text, '{"publish":"orders","data":"next"}'),
    );
    assert.equal(await nextMessage(subscriber), '{"data":"next"}');
    const { channel, why } = await server.untilLogged(({ event }) => event === 'publication refused');
    assert.equal(channel, 'orders');
    assert.equal(why, 'the message has 1025 bytes, and --max-message allows 1024');
  });
}

test('an invalid publication closes the connection of its program, and publishes nothing', async t => {
  const { server, client, subscriber } = await start(t, '--exec');
  client.send(
    frame(opcode.text, '{"publish":"orders","data":1,"ttl":-1}'),
    frame(opcode.text, '{"publish":"orders","data":"next"}'),
  );
  assert.equal(await nextShown(client), 'close 1011 the program failed');
  const { why } = await server.untilLogged(({ event }) => event === 'invalid program output');
  assert.match(String(why), /^a time to live must be a number of seconds/);
  const second = await connectRaw(server.port, { path: '/raw' });
  t.after(() => second.destroy());
  second.send(frame(opcode.text, '{"publish":"orders","data":"the second"}'));
  assert.equal(await nextMessage(subscriber), '{"data":"the second"}');
});

test('an invalid publication of a shared program is skipped, and the log says why', async t => {
  const { server, client, subscriber } = await start(t, '--exec-shared');
  for (const record of ['{"publish":"","data":1}', '{"publish":"a","data":1,"id":1}', '{"publish":"a"}'])
    client.send(frame(opcode.text, record));
  client.send(frame(opcode.text, '{"publish":"orders","data":null,"base64":"AA=="}'));
  client.send(frame(opcode.text, '{"publish":"orders","data":null}'));
  assert.equal(await nextMessage(subscriber), '{"data":null}');
  const reasons = server
    .logged()
    .flatMap(({ event, why }) => (event === 'invalid program output' ? [why] : []));
  assert.deepEqual(reasons, [
    'a channel name has 1 to 200 characters',
    'unknown member "id"',
    'give the message in "data", or its bytes in "base64"',
    'give the message in "data", or its bytes in "base64"',
  ]);
});

test('a program still publishes after its client has left, and what it writes to the client is discarded', async t => {
  const { server, client, subscriber } = await start(t, '--exec', '--log-level', 'debug');
  client.send(frame(opcode.text, '{"publish":"orders","data":"first"}'));
  client.destroy();
  assert.equal(await nextMessage(subscriber), '{"data":"first"}');
  assert.equal(await nextMessage(subscriber), '{"data":"the end"}');
  await untilLogged(server, 'program ended');
});

test('a program that writes endlessly after its client has left loses its stdout, and publishes no more', async t => {
  const script = `import sys
for line in sys.stdin: pass
while True: print('{"text":"' + 'x' * 1000 + '"}')
`;
  const { server } = await start(
    t,
    '--exec',
    '--log-level',
    'debug',
    '--exec-grace',
    '0',
    '--exec',
    [`endless:json=${quoteWords('/usr/bin/python3', '-c', script)}`].join(''),
  );
  const client = await connectRaw(server.port, { path: '/endless' });
  client.destroy();
  const { with: exit } = await server.untilLogged(
    ({ event, program }) => event === 'program ended' && program === 'endless',
  );
  assert.notEqual(exit, 0);
});
