/** Text from outside is UTF-8 or refused: nothing turns into U+FFFD on its way in. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { decodeText, isWellFormed, readText } from '../../src/options/text.ts';
import { serverScript } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const folder = temporaryFolder();

test('the first byte order mark is removed, and any other is kept', () => {
  assert.equal(readText('it', Buffer.from('\ufeffhello')), 'hello');
  assert.equal(readText('it', Buffer.from('\ufeff\ufeffa\ufeff')), '\ufeffa\ufeff');
  assert.equal(readText('it', Buffer.alloc(0)), '');
  assert.equal(decodeText('it', Buffer.from('\ufeffhello')), '\ufeffhello');
});

test('invalid UTF-8 is refused with the byte and its offset', () => {
  const cases: readonly [Buffer, string][] = [
    [Buffer.from('caf\u00e9', 'latin1'), 'byte 0xe9 at offset 3'],
    [Buffer.from([0xff]), 'byte 0xff at offset 0'],
    // A genuine U+FFFD before it is not what is wrong.
    [Buffer.concat([Buffer.from('\ufffd\u00fc\ufffd'), Buffer.from([0xc3])]), 'byte 0xc3 at offset 8'],
    [Buffer.from([0xed, 0xa0, 0x80]), 'byte 0xed at offset 0'],
  ];
  for (const [bytes, where] of cases) {
    assert.throws(() => readText('it', bytes), {
      name: 'UsageError',
      message: `it is not UTF-8: ${where}; convert it, for instance with iconv`,
    });
  }
  for (const bytes of [Buffer.from('\ufeffhi', 'utf16le'), Buffer.from([0xfe, 0xff, 0, 0x68])]) {
    assert.throws(() => readText('it', bytes), { message: 'it is UTF-16; save it as UTF-8' });
  }
});

test('any bytes are either decoded without loss or refused', () => {
  fc.assert(
    fc.property(fc.uint8Array(), bytes => {
      try {
        assert.deepEqual(Buffer.from(decodeText('it', Buffer.from(bytes))), Buffer.from(bytes));
      } catch (error) {
        assert.equal((error as Error).name, 'UsageError');
      }
    }),
  );
  assert.ok(isWellFormed('\u{1f438}') && !isWellFormed('\ud83d') && !isWellFormed('\udc38\ud83d'));
});

test('a command line or variable that is not UTF-8 is refused before the server starts', async () => {
  const control = join(folder, 'no.sock');
  const server = `"${process.execPath}" "${serverScript}"`;
  const client = server.replace('server.js', 'client.js');
  const cafe = "$(printf 'caf\\351')";
  const cases: readonly [command: string, sentence: RegExp][] = [
    [
      `exec ${server} --control ${control} broadcast "${cafe}"`,
      /^pollywog: "caf\ufffd" on the command line is not UTF-8; /,
    ],
    [`exec ${server} -p 0 --data "${folder}/${cafe}"`, /on the command line is not UTF-8/],
    [
      `POLLYWOG_DATA="${folder}/${cafe}" exec ${server} -p 0`,
      /^pollywog: the environment variable POLLYWOG_DATA is not UTF-8/,
    ],
    [
      `exec ${client} -x "${cafe}" ws://127.0.0.1:1/`,
      /^pollywog-client: "caf\ufffd" on the command line is not UTF-8/,
    ],
  ];
  for (const [command, sentence] of cases) {
    const { code, stderr } = await shell(command);
    assert.deepEqual([code, sentence.test(stderr)], [2, true], stderr);
  }
  assert.ok(!existsSync(`${folder}/caf\ufffd`), 'no folder of another name');
  // U+FFFD itself is a character, and other programs' variables are none of ours.
  const { code, stderr } = await shell(`OTHER="${cafe}" exec ${server} --control ${control} send 1 "\ufffd"`);
  assert.deepEqual([code, /no server is running at/.test(stderr)], [3, true], stderr);
});

async function shell(command: string): Promise<{ code: number; stderr: string }> {
  try {
    const { stderr } = await promisify(execFile)('/bin/sh', ['-c', command]);
    return { code: 0, stderr };
  } catch (error) {
    return error as { code: number; stderr: string };
  }
}
