/** `pollywog allowed USER PATH`, which reads the configuration and needs no server. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { run } from '../support/commandWays.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const file = join(temporaryFolder(), 'pollywog.json');
writeFileSync(
  file,
  JSON.stringify({
    allow: [
      '/channels/user-{user}: subscribe=user',
      '/channels/chat-*: subscribe=anyone publish=subscribers presence=subscribers',
      '/channels/orders-*: subscribe=token publish=token',
      '/**: connect=user',
    ],
  }),
);

async function allowed(...words: string[]): Promise<string[]> {
  const { exit, stdout, stderr } = await run(['allowed', ...words, '--config', file]);
  assert.deepEqual([exit, stderr], [0, '']);
  return stdout.trimEnd().split('\n');
}

describe('allowed', () => {
  test('prints the line that decides for each right of a user on a path', async () => {
    assert.deepEqual(await allowed('17', '/channels/user-17'), [
      'connect    yes                            /**: connect=user',
      'subscribe  yes                            /channels/user-{user}: subscribe=user',
      'publish    with the API or publish token  default: publish=commands',
      'presence   no                             default: presence=nobody',
    ]);
  });

  test('refuses the channel of another user, also with its path percent-encoded', async () => {
    const [, subscribe] = await allowed('17', '/channels/%75ser-18');
    assert.match(subscribe!, /^subscribe {2}no +\/channels\/user-\{user\}: subscribe=user$/);
  });

  test('names what a user needs besides the name: a grant, or a subscription', async () => {
    const second = async (...words: string[]) =>
      (await allowed(...words)).map(line => line.split(/ {2,}/)[1]);
    assert.deepEqual(await second('17', '/channels/chat-1'), [
      'yes',
      'yes',
      'if subscribed',
      'if subscribed',
    ]);
    assert.deepEqual(await second('17', '/channels/orders-1'), ['yes', 'if granted', 'if granted', 'no']);
    const stranger = await second('-', '/channels/orders-1');
    assert.deepEqual(stranger, ['no', 'no', 'no', 'no']);
  });

  test('prefers the rules of the command line to those of the file, and prints JSON', async () => {
    const told = await run([
      'allowed',
      '-',
      '/quiz',
      '--json',
      '--config',
      file,
      '--allow',
      '/quiz: connect=nobody',
    ]);
    assert.deepEqual(JSON.parse(told.stdout)[0], {
      right: 'connect',
      allowed: 'no',
      rule: '/quiz: connect=nobody',
    });
  });

  test('decides as the server does for a path below that of a handler, and for the page of a folder', async () => {
    const connect = async (path: string, ...rules: string[]) => {
      const { stdout } = await run([
        ...['allowed', '-', path, '--config', site],
        ...rules.flatMap(rule => ['--allow', rule]),
      ]);
      return stdout.split('\n', 1)[0]!.replace(/ {2,}/g, ' ');
    };
    const site = join(temporaryFolder(), 'site.json');
    writeFileSync(site, JSON.stringify({ exec: 'game=cat' }));
    const below = 'connect no /channels: connect=user';
    for (const path of ['/channels/news', '/channels/a/b', '/%63hannels/news'])
      assert.equal(await connect(path, '/channels: connect=user'), below, path);
    assert.equal(await connect('/game/table-7/', '/game: connect=user'), 'connect no /game: connect=user');
    const both = ['/game/table-*: connect=anyone', '/game: connect=user'];
    assert.equal(await connect('/game/table-7/', ...both), 'connect yes /game/table-*: connect=anyone');
    assert.equal(await connect('/echo/', '/echo: connect=user'), 'connect no /echo: connect=user');

    writeFileSync(site, JSON.stringify({ exec: 'game=cat', static: '.' }));
    assert.equal(await connect('/game/table-7', '/game: connect=user'), 'connect no /game: connect=user');
    assert.equal(
      await connect('/docs/plan.txt', '/docs: connect=user'),
      'connect yes default: connect=anyone',
    );
    for (const rule of ['/docs: connect=user', '/docs/index.html: connect=user', '/docs/**: connect=user'])
      assert.equal(await connect('/docs/', rule), `connect no ${rule}`);
    // Without --faults, this is the page of a folder.
    const page = '/replay/index.html: connect=user';
    assert.equal(await connect('/replay/', page), `connect no ${page}`);
    writeFileSync(site, JSON.stringify({ static: '.', faults: true }));
    assert.equal(await connect('/replay/', page), 'connect yes default: connect=anyone');
  });

  const wrong: [string[], RegExp][] = [
    [['17'], /^pollywog: usage: pollywog allowed USER PATH; USER is - for a client without a user\n$/],
    [['17', '/a', '/b'], /usage: pollywog allowed USER PATH/],
    [['17', 'orders'], /"orders" is not the path of a URL, such as \/channels\/news or \/echo/],
    [['17', '/a%ff'], /is not the path of a URL/],
    [['17', '/echo/../x'], /the server refuses "\/echo\/\.\.\/x" with 400: the parts of the path/],
    [['', '/a'], /"" is not a user: the name of a user has 1 to 200 characters/],
    [['17', '/a', '--port', '1'], /--port is not an option of allowed/],
    [
      ['17', '/a', '--allow', '/x: connect=me'],
      /--allow: "\/x: connect=me" is not a rule: connect= needs one of/,
    ],
  ];
  for (const [words, sentence] of wrong)
    test(`${words.join(' ')} fails with a remedy`, async () => {
      const { exit, stdout, stderr } = await run(['allowed', ...words]);
      assert.deepEqual([exit, stdout], [2, '']);
      assert.match(stderr, sentence);
    });
});
