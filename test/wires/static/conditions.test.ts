/** Conditional requests and ranges for the files of a site. */
import assert from 'node:assert/strict';
import { utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { readRanges } from '../../../src/protocol/http/ranges.ts';
import { httpDate } from '../../../src/wires/static/conditions.ts';
import { ask } from '../../support/pollClient.ts';
import { type ServerProcess, startServer } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

const modified = 'Sun, 09 Sep 2001 01:46:40 GMT';
const earlier = 'Sun, 09 Sep 2001 01:46:39 GMT';
const later = 'Sun, 09 Sep 2001 01:46:41 GMT';
const digits = '0123456789';

describe('files of a site', () => {
  const folder = temporaryFolder();
  const file = join(folder, 'digits.txt');
  let server: ServerProcess;
  let etag = '';
  before(async () => {
    writeFileSync(file, digits);
    // Dates have whole seconds.
    utimesSync(file, 1_000_000_000.5, 1_000_000_000.5);
    writeFileSync(join(folder, 'empty.txt'), '');
    server = await startServer('--static', folder);
    etag = (await get({})).headers.get('etag')!;
  });
  after(() => server.kill());

  const get = (headers: Record<string, string>, method = 'GET', path = '/digits.txt') =>
    ask(server.port, method, path, { headers });

  test('the answer has a strong ETag, Last-Modified, Cache-Control: no-cache, Accept-Ranges and Date', async () => {
    const { headers } = await get({});
    assert.match(etag, /^"[\da-f]+-[\da-f]+"$/);
    assert.equal(headers.get('last-modified'), modified);
    assert.equal(headers.get('cache-control'), 'no-cache');
    assert.equal(headers.get('accept-ranges'), 'bytes');
    assert.ok(httpDate(headers.get('date')) !== undefined);
  });

  test('a change of the content or of the time changes the tag', async () => {
    const changed = join(folder, 'changed.txt');
    const tags = new Set<string | undefined>();
    for (const [text, time] of [
      ['a', 1e9],
      ['ab', 1e9],
      ['ab', 1e9 + 0.001],
    ] as const) {
      writeFileSync(changed, text);
      utimesSync(changed, time, time);
      tags.add((await get({}, 'GET', '/changed.txt')).headers.get('etag'));
    }
    assert.equal(tags.size, 3);
  });

  test('conditions are evaluated in the order of RFC 9110 §13.2.2', async () => {
    const cases: [Record<string, string>, number][] = [
      [{ 'If-None-Match': etag }, 304],
      [{ 'If-None-Match': `"x", W/${etag}` }, 304],
      [{ 'If-None-Match': '"a,b",*' }, 200],
      [{ 'If-None-Match': '*' }, 304],
      [{ 'If-None-Match': '"x"' }, 200],
      [{ 'If-None-Match': '"x"', 'If-Modified-Since': later }, 200],
      [{ 'If-None-Match': etag, 'If-Modified-Since': earlier }, 304],
      [{ 'If-Modified-Since': modified }, 304],
      [{ 'If-Modified-Since': later }, 304],
      [{ 'If-Modified-Since': earlier }, 200],
      [{ 'If-Modified-Since': 'Sunday, 09-Sep-01 01:46:40 GMT' }, 304],
      [{ 'If-Modified-Since': 'Sun Sep  9 01:46:40 2001' }, 304],
      [{ 'If-Modified-Since': 'yesterday' }, 200],
      [{ 'If-Modified-Since': '1000000001' }, 200],
      [{ 'If-Match': etag }, 200],
      [{ 'If-Match': '*' }, 200],
      [{ 'If-Match': `"x", ${etag}` }, 200],
      [{ 'If-Match': '"x"' }, 412],
      [{ 'If-Match': `W/${etag}` }, 412],
      [{ 'If-Match': '"x"', 'If-None-Match': etag }, 412],
      [{ 'If-Match': etag, 'If-Unmodified-Since': earlier }, 200],
      [{ 'If-Match': etag, 'If-None-Match': etag }, 304],
      [{ 'If-Unmodified-Since': earlier }, 412],
      [{ 'If-Unmodified-Since': modified }, 200],
      [{ 'If-Unmodified-Since': 'once' }, 200],
    ];
    for (const [headers, status] of cases) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await get(headers, method);
        assert.equal(answer.status, status, `${method} ${JSON.stringify(headers)}`);
        assert.equal(answer.body, method === 'GET' && status === 200 ? digits : '');
        assert.equal(answer.headers.get('etag'), etag);
        if (status === 304) assert.equal(answer.headers.get('content-type'), undefined);
      }
    }
  });

  test('one range is answered with 206 and a Content-Range', async () => {
    for (const [range, body, place] of [
      ['bytes=0-3', '0123', '0-3/10'],
      ['bytes=7-', '789', '7-9/10'],
      ['bytes=-2', '89', '8-9/10'],
      ['bytes=-99', digits, '0-9/10'],
      ['bytes=8-99', '89', '8-9/10'],
      ['Bytes = 9-9', '9', '9-9/10'],
      ['bytes=20-, 1-1', '1', '1-1/10'],
      // RFC 9110 §5.6.1.2: empty elements of the list are ignored.
      ['bytes=0-1,', '01', '0-1/10'],
      ['bytes=, \t,0-1 ,,', '01', '0-1/10'],
    ] as const) {
      const answer = await get({ Range: range });
      assert.deepEqual([answer.status, answer.body], [206, body], range);
      assert.equal(answer.headers.get('content-range'), `bytes ${place}`, range);
      assert.equal(answer.headers.get('content-length'), `${body.length}`);
      assert.equal(answer.headers.get('content-type'), 'text/plain; charset=utf-8');
    }
  });

  test('several ranges are answered with one multipart message, in which each part has its Content-Range', async () => {
    const { status, headers, body, isWhole } = await get({ Range: 'bytes=0-1, -2, 4-4' });
    assert.deepEqual([status, isWhole], [206, true]);
    const [, boundary] = /^multipart\/byteranges; boundary=([\w-]+)$/.exec(headers.get('content-type')!)!;
    const parts = body.split(`--${boundary}`);
    assert.equal(parts.length, 5);
    assert.equal(parts[4], '--\r\n');
    assert.deepEqual(
      parts.slice(1, 4).map(part => part.replace('Content-Type: text/plain; charset=utf-8', 'TYPE')),
      [
        '\r\nTYPE\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n',
        '\r\nTYPE\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n',
        '\r\nTYPE\r\nContent-Range: bytes 4-4/10\r\n\r\n4\r\n',
      ],
    );
  });

  test('a range after the end gets 416 with the size', async () => {
    for (const [path, range, size] of [
      ['/digits.txt', 'bytes=10-', 10],
      ['/digits.txt', 'bytes=-0', 10],
      ['/empty.txt', 'bytes=0-', 0],
    ] as const) {
      const answer = await get({ Range: range }, 'GET', path);
      assert.deepEqual([answer.status, answer.body], [416, ''], range);
      assert.equal(answer.headers.get('content-range'), `bytes */${size}`);
    }
  });

  test('a range is ignored if it is not valid, if If-Range names another version, and with HEAD', async () => {
    const cases: Record<string, string>[] = [
      ...[
        'bytes=',
        'bytes=-',
        'bytes=3-1',
        'bytes=a-b',
        'lines=0-1',
        'bytes=0-1;',
        'bytes=0-1,x',
        'bytes=,',
        '0-1',
      ].map(range => ({ Range: range })),
      { Range: 'bytes=0-9,0-9,0-9' },
      { Range: 'bytes=0-1', 'If-Range': '"x"' },
      { Range: 'bytes=0-1', 'If-Range': `W/${etag}` },
      { Range: 'bytes=0-1', 'If-Range': earlier },
      { Range: 'bytes=0-1', 'If-Range': later },
    ];
    for (const headers of cases) {
      const answer = await get(headers);
      assert.deepEqual([answer.status, answer.body], [200, digits], JSON.stringify(headers));
    }
    for (const version of [etag, modified])
      assert.equal((await get({ Range: 'bytes=0-1', 'If-Range': version })).status, 206, version);
    assert.equal((await get({ Range: 'bytes=0-1' }, 'HEAD')).status, 200);
    assert.equal((await get({ Range: 'bytes=0-1', 'If-None-Match': etag })).status, 304);
  });
});

test('more than 16 ranges, or ranges of more bytes than the file has, are ignored', () => {
  assert.equal(readRanges(`bytes=${Array(17).fill('0-0').join()}`, 100), undefined);
  assert.equal(readRanges(`bytes=${Array(16).fill('0-0').join()}`, 100)?.length, 16);
  assert.equal(readRanges('bytes=0-,0-', 100), undefined);
  assert.equal(readRanges('bytes=0-99999999999999999999', 100), undefined);
  assert.deepEqual(readRanges('bytes=0-999999999999999', 100), [{ start: 0, end: 100 }]);
});
