/** Every example of the manual's pages on commands is run as it stands there; only the port is another one. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type ChatClient, connectMember, hearUntil } from '../support/chatClient.ts';
import { manualPage } from '../support/documents.ts';
import { connectRaw, type RawClient } from '../support/rawClient.ts';
import { type ServerProcess, serverScript, startServerWith } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const pages = ['commands', 'http', 'spool'].map(manualPage).join('\n');
const examples = [...pages.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language = '', code = '']) => ({
  language,
  // The server that an example starts is there already.
  code: code.replace(/^pollywog .*&\n/m, ''),
}));

/** They are run here: `token` lies here, and `pollywog` is on the path. */
const folder = temporaryFolder();
const control = join(folder, 'control.sock');
let server: ServerProcess;
let listener: RawClient;
let ada: ChatClient;

const programs: Readonly<Record<string, readonly string[]>> = {
  sh: ['sh', '-e'],
  // A page has what was posted to it.
  php: ['php', '-d', 'display_errors=stderr', '-d', 'auto_prepend_file=posted.inc'],
  perl: ['perl', '-w'],
  python: ['/usr/bin/python3'],
};

/** @returns what it printed. @throws Error where it fails, or says anything on stderr */
async function runExample(language: string, code: string): Promise<string> {
  const program = programs[language];
  assert.ok(program !== undefined, `there is no program for ${language}`);
  const file = join(folder, `example.${language}`);
  writeFileSync(file, code.replaceAll('localhost:8080', `127.0.0.1:${server?.port}`));
  const [name = '', ...words] = program;
  const PATH = `${folder}${delimiter}${process.env['PATH']}`;
  const env = { ...process.env, PATH, POLLYWOG_CONTROL: control };
  const child = spawn(name, [...words, file], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', text => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text;
  });
  const [code_] = await once(child, 'close');
  assert.deepEqual([code_, stderr], [0, ''], `${code}\n${stdout}`);
  return stdout;
}

before(async () => {
  const pollywog = join(folder, 'pollywog');
  writeFileSync(pollywog, `#!/bin/sh\nexec "${process.execPath}" "${serverScript}" "$@"\n`);
  chmodSync(pollywog, 0o755);
  writeFileSync(join(folder, 'posted.inc'), "<?php $_POST = ['number' => '1234'];");
  const start = examples.find(({ code }) => code.includes('openssl'));
  const [secret = '', words = '', ...more] = start?.code.trim().split('\n') ?? [];
  assert.deepEqual(more, [], 'one line makes the token, the other starts the server');
  await runExample('sh', secret);
  assert.equal(statSync(join(folder, 'token')).mode & 0o777, 0o600);
  const options = words
    .replace(/^pollywog /, '')
    .replace(' token', ` ${join(folder, 'token')}`)
    .split(' ');
  const usual = ['-p', '0', '--host', '127.0.0.1', '--log-format', 'json', '--config', 'none'];
  const doors = ['--control', control, '--spool', join(folder, 'spool')];
  server = await startServerWith([...usual, ...doors, ...options]);
  listener = await connectRaw(server.port);
  ada = await connectMember(server.port, 'ada', 'pond', { path: '/tpacket' });
  await hearUntil(ada, 'NEW_USER uid=-1 p1=4096 p2=0 "ada"');
});

after(async () => {
  listener?.destroy();
  ada?.socket.destroy();
  await server?.kill();
});

const broadcast = async () => {
  assert.equal((await listener.nextFrame())?.payload.toString(), 'back in five minutes');
  assert.equal(await ada.hear(), 'LOGGED_MSG uid=-1 p1=0 p2=0 "server: back in five minutes"');
};

describe('the examples of the manual', () => {
  const others = examples.filter(({ code }) => !code.includes('openssl'));
  const isTour = (code: string) => code.startsWith('pollywog list');
  const kinds: [string, (code: string) => boolean, string[], (said: string) => Promise<void>][] = [
    [
      'a tour',
      isTour,
      ['sh'],
      async said => {
        assert.match(said, /ada.*sent: 2\nsent: 1\nsent: 1\nUsage: pollywog send/s);
        await broadcast();
        assert.match(await ada.hear(), /your tea is ready/);
        assert.match(await ada.hear(), /LOGGED_MSG .*"server: .*20\d\d/);
      },
    ],
    [
      'say something to everyone',
      code => code.includes('/api/broadcast'),
      ['sh', 'php', 'perl', 'python'],
      async said => {
        assert.equal(said, '{"sent":2}\n');
        await broadcast();
      },
    ],
    [
      'who is online',
      code => code.includes('/api/list'),
      ['sh', 'php', 'perl', 'python'],
      async said => assert.match(said, /^ *3\b.* 127\.0\.0\.1:\d+ +ada\b/m),
    ],
    [
      'from a folder',
      code => code.includes('spool/x.tmp'),
      ['sh'],
      async said => {
        assert.equal(said, 'sent: 2\n');
        assert.equal((await listener.nextFrame())?.payload.toString(), 'hello');
        assert.match(await ada.hear(), /server: hello/);
      },
    ],
    [
      'push from PHP',
      code => code.includes('/api/publish'),
      ['php'],
      async said => {
        assert.equal(said, 'Thank you.', 'nobody was in the room');
        const orders = await connectMember(server.port, 'bob', 'orders', { path: '/tpacket' });
        await hearUntil(orders, 'LOGGED_MSG uid=-1 p1=0 p2=0 "server: order 1234 is paid"');
        const example = examples.find(({ code }) => code.includes('/api/publish'));
        assert.equal(await runExample('php', example?.code ?? ''), 'Thank you; they know.');
        orders.socket.destroy();
      },
    ],
  ];

  test('are all of a kind that is known here', () => {
    const known = kinds.flatMap(([, fits]) => others.filter(({ code }) => fits(code)));
    assert.equal(known.length, others.length);
  });

  for (const [name, fits, languages, check] of kinds) {
    for (const language of languages) {
      test(`${name}, in ${language}`, async () => {
        const [example, ...more] = others.filter(one => one.language === language && fits(one.code));
        assert.ok(example !== undefined && more.length === 0, `one example in ${language}`);
        assert.ok(isTour(example.code) || example.code.trim().split('\n').length <= 6);
        await check(await runExample(language, example.code));
      });
    }
  }
});
