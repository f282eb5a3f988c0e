/** `pollywog explain` on the command line. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { serverScript } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

function run(words: readonly string[], input: string | Uint8Array = '') {
  const { status, stdout, stderr } = spawnSync(process.execPath, [serverScript, 'explain', ...words], {
    input,
    encoding: 'utf8',
    maxBuffer: 128 * 1024 * 1024,
  });
  return { status, stdout, stderr };
}

const hello = '818537fa213d7f9f4d5158';
const bytes = Buffer.from(hello, 'hex');

describe('pollywog explain', () => {
  test('explains hexadecimal digits, files of digits or bytes, and stdin in the same way', () => {
    const folder = temporaryFolder();
    const [digits, raw] = [join(folder, 'digits'), join(folder, 'raw')];
    writeFileSync(digits, '0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d\n7f 9f 4d:51:58\n');
    writeFileSync(raw, bytes);
    const { status, stdout, stderr } = run([hello]);
    assert.deepEqual([status, stderr], [0, '']);
    assert.match(stdout, /^frame of the client: text, 5 bytes, masked\n/);
    const others = [
      run(hello.match(/../g)!),
      run([digits]),
      run([raw]),
      run(['-'], bytes),
      run(['-'], hello),
    ];
    for (const other of others) assert.deepEqual(other, { status, stdout, stderr });
  });

  test('escapes control characters, wherever a handshake or a frame has them', () => {
    const evil = '\x1b[31m\x9b31m';
    const head = (first: string, ...names: string[]) =>
      Buffer.from(`${first}\r\n${names.map(name => `${name}: a${evil}`).join('\r\n')}\r\n\r\n`, 'latin1');
    const fields = ['Upgrade', 'Connection', 'Host', 'Origin', 'Sec-WebSocket-Key', 'Sec-WebSocket-Accept'];
    fields.push('Sec-WebSocket-Version', 'Sec-WebSocket-Protocol', 'Sec-WebSocket-Extensions', `X-${evil}`);
    const text = Buffer.from(`\x1b[31m\u009b31m`);
    const inputs = [
      head(`GET /${evil}?${evil} HTTP/${evil}`, ...fields),
      head(`POST /${evil}?${evil} HTTP/1.1`, ...fields),
      head(`HTTP/1.1 101 ${evil}`, ...fields),
      head(`HTTP/1.1 400 ${evil}`, ...fields),
      Buffer.concat([Buffer.from([0x81, text.length]), text]),
      Buffer.concat([Buffer.from([0x88, 2 + text.length, 3, 232]), text]),
    ];
    for (const input of inputs)
      for (const words of [[], ['--json'], ['--role', 'server']]) {
        const { status, stdout } = run(['-', ...words], input);
        assert.equal(status, 0);
        assert.doesNotMatch(stdout, /[\x00-\x09\x0b-\x1f\x7f-\x9f]/, JSON.stringify(stdout));
      }
  });

  test('stops after 50,000 frames instead of running out of memory', () => {
    const pongs = Buffer.alloc(4 * 1024 * 1024, Buffer.from([0x8a, 0]));
    const { status, stdout } = run(['-', '--role', 'server'], pongs);
    assert.equal(status, 0);
    assert.match(
      stdout,
      /\n4094304 bytes not read\n.*: explain stops after 50000 frames; explain a part of the bytes\n$/,
    );
  });

  test('draws the frame as the RFC does', () => {
    assert.ok(
      run([hello]).stdout.includes(`
  +-+-+-+-+-------+-+-------------+-------------------------------+
  |F|1|2|3|opcode |M| Payload len |          Masking-key          |
  |1|0|0|0|0 0 0 1|1|0 0 0 0 1 0 1|             37 fa             |
  +-+-+-+-+-------+-+-------------+-------------------------------+
  |                               |        Payload, masked        |
  |             21 3d             |             7f 9f             |
  +-------------------------------+---------------+---------------+
`),
    );
  });

  test('takes the sender from --role or from a handshake, and compression from --deflate', () => {
    assert.match(
      run(['810548656c6c6f']).stdout,
      /refused: a client must mask its frames \(RFC 6455 §5\.1\); certain at byte 1/,
    );
    assert.match(run(['810548656c6c6f', '--role', 'server']).stdout, /text message: "Hello"/);
    assert.match(
      run(['c107f248cdc9c90700', '--role', 'server', '--deflate']).stdout,
      /5 inflated .*: "Hello"/,
    );
    assert.match(run(['-'], 'HTTP/1.1 101 x\r\n').stdout, /^handshake of the server\n/);
  });

  test('reads a recording, and inflates its compressed messages', () => {
    const file = join(temporaryFolder(), 'session.jsonl');
    const lines = [
      { pollywog: 'recording', version: 1, time: '2026-11-27T05:06:38.412Z', side: 'server', id: 7 },
      {
        at: 0,
        from: 'client',
        request: '/echo',
        headers: { 'sec-websocket-extensions': 'permessage-deflate' },
      },
      {
        ...{ at: 1, from: 'server', status: 101 },
        headers: {
          ...{ upgrade: 'websocket', connection: 'Upgrade', 'sec-websocket-accept': 'x' },
          'sec-websocket-extensions': 'permessage-deflate',
        },
      },
      { at: 2, from: 'server', opcode: 'text', text: 'Hello', raw: 'c107f248cdc9c90700' },
    ];
    writeFileSync(file, lines.map(line => JSON.stringify(line)).join('\n'));
    assert.match(run([file]).stdout, /5 inflated .*: "Hello"$/m);
    writeFileSync(file, `${JSON.stringify(lines[0])}\nnonsense\n`);
    assert.match(run([file]).stderr, /^pollywog: line 2: /);
  });

  test('reads dumps of bytes and packets, and names input of another protocol', () => {
    const explained = run([hello]);
    assert.deepEqual(run(['-'], `00000000: 8185 37fa 213d 7f9f 4d51 58            ..7.!=..MQX\n`), explained);
    assert.deepEqual(run([`<Buffer ${hello.match(/../g)!.join(' ')}>`]), explained);
    const ip = `4500003300010000400600007f0000017f0000010001000200000001000000005018000000000000${hello}`;
    const lines = ip
      .match(/.{1,32}/g)!
      .map((line, i) => `\t0x00${i}0:  ${line.match(/.{1,4}/g)!.join(' ')}  ...`);
    assert.deepEqual(run(['-'], `1.0 IP a.1 > b.2: Flags [P.]\n${lines.join('\n')}\n`), explained);
    assert.match(
      run(['-'], 'hello world\n').stderr,
      /this text is neither a handshake nor hexadecimal digits/,
    );
    assert.match(run(['-'], Buffer.from('160301020001', 'hex')).stderr, /these bytes are TLS/);
  });

  test('prints JSON', () => {
    const [frame] = JSON.parse(run([hello, '--json']).stdout) as [
      { kind: string; fields: { name: string }[] },
    ];
    assert.equal(frame.kind, 'frame');
    assert.ok(frame.fields.some(({ name }) => name === 'Masking-key'));
  });

  test('refuses unreadable input, in a sentence', () => {
    const refused: readonly (readonly [words: string[], why: RegExp])[] = [
      [[], /^pollywog: usage: pollywog explain HEX\|FILE\|-/],
      [['810'], /3 hexadecimal digits do not make whole bytes/],
      [['hello'], /hello is neither a file nor hexadecimal digits such as 8105/],
      [['-'], /stdin is empty; nothing to explain/],
      [[hello, '--role', 'proxy'], /--role must be client or server/],
      [[hello, '--as', 'text'], /--as is not an option of explain/],
      [[temporaryFolder()], /cannot read .*: it is a folder; name a file/],
      [['session.pcap'], /there is no file session\.pcap/],
      [[''], /the word is empty/],
      [['129', '5', '72'], /these numbers look decimal/],
    ];
    for (const [words, why] of refused) {
      const { status, stderr } = run(words);
      assert.equal(status, 2);
      assert.match(stderr, why);
      assert.equal(stderr.split('\n').length, 2, 'one line');
    }
  });
});
