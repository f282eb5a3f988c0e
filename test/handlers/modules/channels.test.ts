/** Channels from modules: `server.channels`. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { askServer, openServer } from '../../support/commandWays.ts';
import { newFolder } from '../../support/modules.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

const source = `
const heard = [];
let end;
export default {
  names: ['desk'],
  message() {},
  async command([does, name, ...words], { channels }) {
    if (does === 'publish') return channels.publish(name, words[0], JSON.parse(words[1] ?? '{}'));
    if (does === 'bytes') return channels.publish(name, new Uint8Array([0, 255]));
    if (does === 'subscribe') {
      end = channels.subscribe(name, message => {
        if (message.text() === 'throw') throw new Error('as asked');
        heard.push([message.channel, message.kind, message.event ?? null, message.text()]);
      });
    }
    if (does === 'end') end();
    if (does === 'history')
      return channels.history(name, ...words.map(Number)).map(one => [one.kind, one.event ?? null, one.text()]);
    return { heard };
  },
};`;

async function openDesk(t: Parameters<typeof openServer>[0], ...options: string[]) {
  const server = await openServer(t, ...options, '--handlers', newFolder({ 'desk.mjs': source }).path);
  const ask = async (...words: string[]) => {
    const told = await askServer(server, '--json', ...words);
    return told.stderr === '' ? JSON.parse(told.stdout) : told.stderr;
  };
  return { server, desk: (...words: string[]) => ask('call', 'desk', ...words), ask };
}

test('a module publishes text, JSON and bytes, and learns the id', async t => {
  const { desk, ask } = await openDesk(t);
  const first = await desk('publish', 'a/b', 'hello', '{"event":"greeting","key":"1"}');
  assert.match(first.id, /^[a-z\d]{8}-1$/);
  assert.equal(first.subscribers, 0);
  assert.deepEqual(await desk('publish', 'a/b', 'again', '{"key":"1"}'), first);
  await desk('publish', 'a/b', '{"n":1}', '{"as":"json","ttl":60}');
  await desk('bytes', 'a/b');
  const kept = (await ask('history', 'a/b')) as { id: string; time: string }[];
  assert.deepEqual(
    kept.map(({ id, time, ...others }) => others),
    [{ event: 'greeting', text: 'hello' }, { data: { n: 1 } }, { base64: 'AP8=' }],
  );
});

test('a module hears what is published until it ends its subscription, even if its listener throws', async t => {
  const { server, desk, ask } = await openDesk(t);
  await desk('subscribe', 'a/b');
  await ask('publish', 'a/b', 'throw');
  await ask('publish', 'a/b', '17', '--as', 'json', '--event', 'paid');
  await ask('publish', 'a/c', 'elsewhere');
  const heard = [['a/b', 'json', 'paid', '17']];
  assert.deepEqual(await desk('heard'), { heard });
  assert.match(
    server.stderr(),
    /"listener failed","handler":"desk","channel":"a\/b","reason":"Error: as asked"/,
  );
  await desk('end');
  await ask('publish', 'a/b', 'too late');
  assert.deepEqual(await desk('heard'), { heard });
});

test('a module reads the history of a channel, oldest first, with --data even after a restart', async t => {
  const data = temporaryFolder();
  const first = await openDesk(t, '--data', data);
  assert.deepEqual(await first.desk('history', 'a/b'), []);
  assert.deepEqual(await first.ask('channels'), [], 'reading creates no channel');
  await first.desk('publish', 'a/b', 'one', '{"event":"greeting"}');
  await first.desk('publish', 'a/c', 'elsewhere');
  await first.desk('publish', 'a/b', '2', '{"as":"json"}');
  await first.desk('publish', 'a/b', 'three');
  const all = [
    ['text', 'greeting', 'one'],
    ['json', null, '2'],
    ['text', null, 'three'],
  ];
  assert.deepEqual(await first.desk('history', 'a/b'), all);
  await first.server.stop();
  const { desk } = await openDesk(t, '--data', data);
  assert.deepEqual(await desk('history', 'a/b'), all);
  assert.deepEqual(await desk('history', 'a/b', '2'), all.slice(1));
  assert.deepEqual(await desk('history', 'a/b', '0'), []);
  assert.deepEqual(await desk('history', 'a/b', '9'), all);
  assert.match(
    String(await desk('history', 'a/b', '1.5')),
    /RangeError: history takes a number of messages, not 1.5/,
  );
  assert.match(String(await desk('history', 'a//b')), /RangeError/);
});

test('a module cannot publish in a channel that cannot exist, an event of two lines or broken JSON', async t => {
  const { server, desk } = await openDesk(t);
  for (const words of [
    ['a//b', 'x'],
    ['a', 'x', '{"event":"a\\nb"}'],
    ['a', '{', '{"as":"json"}'],
  ])
    assert.match(String(await desk('publish', ...words)), /^pollywog: /, words.join(' '));
  assert.ok(server.stderr().includes('RangeError'));
});

/** Its command subscribes. @param then what the command does after that */
const listening = (version: string, then = '') => `
export default {
  names: ['desk'],
  message() {},
  command([name], { channels, log }) {
    channels.subscribe(name, message => log.info('heard', { version: '${version}', text: message.text() }));
    ${then}
    return { version: '${version}' };
  },
};`;

test('a call that is rolled back leaves no subscription, so the previous version hears each message alone', async t => {
  const folder = newFolder({ 'desk.mjs': listening('v1') });
  const server = await openServer(t, '--handlers', folder.path);
  folder.write('desk.mjs', listening('v2', "throw new Error('as asked');"));
  assert.match((await askServer(server, 'reload')).stdout, /desk\.mjs has taken over/);
  assert.equal((await askServer(server, 'call', 'desk', 'a/b')).stdout, 'version: v1\n');
  await askServer(server, 'publish', 'a/b', 'once');
  await askServer(server, 'forget', 'a/b');
  while (!server.stderr().includes('"command":"forget"')) await once(server.child.stderr!, 'data');
  const heard = server.stderr().match(/"event":"heard".*/g);
  assert.deepEqual(
    heard?.map(line => /"version":"(\w+)"/.exec(line)?.[1]),
    ['v1'],
  );
});
