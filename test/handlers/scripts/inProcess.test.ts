/** Scripts of a server in the process of a test. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listen } from '../../../src/index.ts';
import { connectRaw } from '../../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../../support/rawFrame.ts';

test('a test gives its scripts as text, and awaits their outcomes', async () => {
  const server = await listen({ script: { hello: '< text "hello"\n> text "world"\n< close 1000' } });
  const play = async (text: string) => {
    const client = await connectRaw(server.port, { path: '/script/hello' });
    client.send(frame(opcode.text, text), closeFrame(1000));
    await client.remainingFrames();
    client.destroy();
  };
  await play('hello');
  const played = await server.waitFor(({ event }) => event.startsWith('script'));
  assert.deepEqual([played.event, played['script']], ['script played', 'hello']);
  await play('hallo');
  const { line, expected, seen } = await server.waitFor(({ event }) => event === 'script differs');
  assert.deepEqual([line, expected, seen], [1, 'text "hello"', 'text "hallo"']);
  await server.close();
});

test('an interruption by the server does not count as a difference', async () => {
  const server = await listen({ script: { hello: '> text "hello"\n< text "world"' } });
  const [client, other] = await Promise.all(
    [1, 2].map(() => connectRaw(server.port, { path: '/script/hello' })),
  );
  assert.ok(client !== undefined && other !== undefined);
  await client.nextFrame();
  const [first, second] = server.connections;
  first?.close(1012, 'restarting');
  const { script, line, by } = await server.waitFor(({ event }) => event === 'script interrupted');
  assert.deepEqual([script, line, by], ['hello', 2, '1012 restarting']);
  await server.close();
  const isSecond = ({ event, id }: { event: string; id?: unknown }) =>
    event.startsWith('script') && id === second?.id;
  const events: string[] = [];
  for await (const event of server.events) if (isSecond(event)) events.push(event.event);
  assert.deepEqual(events, ['script interrupted']);
  for (const each of [client, other]) each.destroy();
});

test('listen rejects a script with a mistake and names the line', async () => {
  await assert.rejects(
    listen({ script: { hello: '\n> txt' } }),
    /^UsageError: hello: line 2: unknown word "txt"/,
  );
  await assert.rejects(
    listen({ script: '/nowhere' }),
    /^UsageError: --script: cannot read "\/nowhere": no such file; correct the path/,
  );
});
