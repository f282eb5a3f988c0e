/** Bytes as people paste them into `explain`. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { nameOfOther, readPacketDump, readPasted } from '../../src/explain/pasted.ts';

const hello = Buffer.from('810548656c6c6f', 'hex');
const long = Buffer.concat([hello, Buffer.from('abcdef 0123 4567 89ab cdef abcdef 0123 4567 89ab')]);

const pastes: readonly [string, string][] = [
  ['digits', '810548656c6c6f'],
  ['capital digits in pairs', '81 05 48 65 6C 6C 6F'],
  ['pairs with colons', '81:05:48:65:6c:6c:6f'],
  ['an array of C', '{0x81, 0x5, 0x48, 0x65, 0x6c, 0x6c, 0x6f};'],
  ['an array of JavaScript', '[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]'],
  ['a Buffer as Node prints it', '<Buffer 81 05 48 65 6c 6c 6f>'],
  ['a Buffer in JSON', '{"type":"Buffer","data":[129,5,72,101,108,108,111]}'],
  ['a Uint8Array as Node prints it', 'Uint8Array(7) [\n  129, 5, 72,\n  101, 108, 108, 111\n]'],
  ['bytes of Python', "b'\\x81\\x05Hello'"],
  ['a string of C', '"\\x81\\005H\\145llo"'],
  ['a string of JavaScript', "'\\u0081\\u0005Hello'"],
  ['a dump of Wireshark', '0000   81 05 48 65 6c 6c 6f                              ..Hello'],
  ['a dump of xxd', '00000000: 8105 4865 6c6c 6f                        ..Hello'],
  ['a dump of hexdump -C', '00000000  81 05 48 65 6c 6c 6f                              |..Hello|\n00000007'],
  ['digits behind a byte order mark', '\ufeff81 05 48 65 6c 6c 6f'],
];

for (const [what, text] of pastes)
  test(`explain reads ${what}`, () => assert.deepEqual(readPasted(text), hello));

for (const [program, ...options] of [
  ['xxd'],
  ['xxd', '-g1', '-u'],
  ['xxd', '-p'],
  ['od', '-tx1'],
  ['od', '-Ax', '-tx1z'],
  ['od', '-An', '-tx1', '-v'],
] as const)
  test(`explain reads the output of ${program} ${options.join(' ')} without the text beside the bytes`, () => {
    for (const bytes of [hello, long]) {
      const dump = execFileSync(program, options, { input: bytes, encoding: 'utf8' });
      assert.deepEqual(readPasted(dump), bytes, dump);
    }
  });

const refusals: readonly [string, RegExp][] = [
  ['8', /1 hexadecimal digits do not make whole bytes/],
  ['129 5 72 101', /these numbers look decimal/],
  ['<Buffer 81 05 48 ... 12 more bytes>', /is cut; print all of it/],
  ['0000000 0581 6548 6c6c 006f\n0000007', /words instead of bytes/],
  [
    '00000000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n*\n00000020',
    /leaves out repeated lines/,
  ],
];

for (const [text, reason] of refusals)
  test(`explain refuses ${JSON.stringify(text)} instead of misreading it`, () =>
    assert.throws(() => readPasted(text), reason));

test('plain text is not read as bytes', () => {
  for (const text of ['', 'hello world', 'GET / HTTP/1.1', '00000000: no digits', '81 05 zz', '{"a":1}'])
    assert.equal(readPasted(text), undefined, text);
});

test('plain digits that begin like an offset are digits', () => {
  for (const digits of ['0000 8105', '00000000', '8105 0000', '0010 0020\n0030 0040'])
    assert.equal(readPasted(digits)?.toString('hex'), digits.replace(/\s/g, ''), digits);
});

test('explain reads each packet in the output of tcpdump -X', () => {
  const text = [
    '12:00:00.000001 IP localhost.1 > localhost.2: Flags [P.], length 18',
    '\t0x0000:  4500 003a 0001 4000 4006 3cbb 7f00 0001  E..:..@.@.<.....',
    '\t0x0010:  7f00 0001 0001                           ......',
    '12:00:00.000002 IP localhost.2 > localhost.1: Flags [.], length 0',
    '\t0x0000:  4500 00ab                                E...',
  ].join('\n');
  assert.deepEqual(
    readPacketDump(text)?.map(packet => packet.toString('hex')),
    ['4500003a000140004006' + '3cbb7f000001' + '7f0000010001', '450000ab'],
  );
  assert.equal(readPacketDump('0x81 0x05'), undefined);
});

test('explain names other protocols and formats', () => {
  const cases: readonly [string | Buffer, RegExp | undefined][] = [
    [Buffer.from('1603010200', 'hex'), /are TLS/],
    [Buffer.from('1703030010', 'hex'), /are TLS/],
    [Buffer.from('1f8b08', 'hex'), /gzip/],
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', /HTTP\/2/],
    [Buffer.from('8105\n', 'utf16le').fill('fffe', 0, 2, 'hex'), /UTF-16/],
    [hello, undefined],
    ['GET / HTTP/1.1\r\n', undefined],
  ];
  for (const [bytes, name] of cases) {
    const named = nameOfOther(Buffer.from(bytes));
    if (name === undefined) assert.equal(named, undefined);
    else assert.match(named ?? '', name);
  }
});
