import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolError } from '../../src/protocol/codes.ts';
import { beginsProxyHeader, readProxyHeader } from '../../src/protocol/proxyHeader.ts';
import { badHeaders, goodHeaders } from '../support/proxyHeaders.ts';

const behind = Buffer.from('GET / HTTP/1.1\r\n');

/** Reads one that lies in the midst of other bytes. */
function read(header: Buffer, end: number) {
  const bytes = Buffer.concat([Buffer.from('xyz'), header, behind]);
  const begins = end === 0 ? undefined : beginsProxyHeader(bytes, 3, 3 + end);
  return begins === true ? readProxyHeader(bytes, 3, 3 + end) : begins;
}

test('a valid PROXY header is read, however it is cut', () => {
  for (const [name, header, address] of goodHeaders) {
    for (let cut = 0; cut < header.length; cut++) {
      assert.equal(read(header, cut), undefined, `${name}, ${cut} bytes of it`);
    }
    for (const more of [0, 1, behind.length]) {
      const { source, end } = read(header, header.length + more) as NonNullable<
        ReturnType<typeof readProxyHeader>
      >;
      assert.equal(end, 3 + header.length, name);
      assert.equal(source === undefined, address === undefined, name);
    }
  }
});

test('an invalid PROXY header is refused at its end or before, however it is cut', () => {
  for (const [name, header] of badHeaders) {
    let refused = 0;
    for (let cut = 0; cut <= header.length; cut++) {
      try {
        const got = read(header, cut);
        assert.equal(got, undefined, name);
        assert.equal(refused, 0, `${name}: what was refused once stays so`);
      } catch (error) {
        assert.ok(error instanceof ProtocolError && error.code === 400, `${name}: ${error}`);
        assert.match(error.message, /^the PROXY header is malformed: /);
        refused++;
      }
    }
    assert.ok(refused > 0, name);
  }
});

test('the first byte that differs shows that the input is no PROXY header', () => {
  for (const text of [
    'GET / HTTP/1.1\r\n',
    'PROXYTCP4',
    'PROXY me',
    'proxy TCP4 ',
    '\r\n\r\nGET',
    '\x16\x03\x01',
  ]) {
    assert.equal(beginsProxyHeader(Buffer.from(text), 0, Buffer.byteLength(text)), false, text);
  }
});
