import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  addChunk,
  type Format,
  lastRecord,
  newFormat,
  newRecordBuffer,
  nextRecord,
  type OutputRecord,
} from '../../../src/handlers/programs/formats.ts';
import type { ProgramFormat } from '../../../src/options/values.ts';
import { closePayload } from '../../support/rawFrame.ts';

const limit = 100;
const roomy = { line: 64 * 1024, null: 64 * 1024, length: 0, json: 64 * 1024 };

function message(payload: string | Uint8Array) {
  const bytes = Buffer.concat([Buffer.from('..'), Buffer.from(payload as string), Buffer.from('..')]);
  return { isText: typeof payload === 'string', bytes, start: 2, end: bytes.length - 2 };
}

/** The records in `written` when it arrives in pieces of `size`, and the sentences about invalid ones. */
function readAll(
  format: Format,
  written: Buffer,
  size = written.length,
  longest = format.maxRecordSize(limit),
): unknown[] {
  const records = newRecordBuffer();
  const read: unknown[] = [];
  const take = (find: typeof nextRecord) => {
    while (find(records, format, longest)) {
      try {
        const { recordStart, recordEnd } = records;
        const said = format.decode(records.bytes, recordStart, recordEnd);
        if (said !== undefined) read.push(show(said));
      } catch (error) {
        read.push(`! ${(error as Error).message}`);
      }
    }
  };
  try {
    for (let at = 0; at < written.length; at += size) {
      addChunk(records, Buffer.from(written.subarray(at, at + size)));
      take(nextRecord);
    }
    take(lastRecord);
  } catch (error) {
    read.push(`!! ${(error as Error).message}`);
  }
  return read;
}

function show({ kind, to, bytes, start, end, code, reason }: OutputRecord): unknown {
  if (kind === 'close') return { to, code, reason };
  const payload = Buffer.from(bytes.subarray(start, end));
  return kind === 'text' ? { to, text: payload.toString() } : { to, hex: payload.toString('hex') };
}

const one = (text: string) => ({ to: [], text });

describe('line', () => {
  const format = newFormat('line', false);
  test('a message becomes a line; several lines and binary messages are refused', () => {
    assert.equal(format.encodeMessage(message('grüße, ☃\r'), 1).toString(), 'grüße, ☃\r\n');
    assert.equal(format.encodeMessage(message(''), 1).toString(), '\n');
    assert.throws(() => format.encodeMessage(message('a\nb'), 1), { code: 1007 });
    assert.throws(() => format.encodeMessage(message(Buffer.from('a')), 1), { code: 1003 });
  });
  test('one line end at the end of a message is removed, and a second one is refused', () => {
    for (const text of ['a', 'a\n', 'a\r\n'])
      assert.equal(format.encodeMessage(message(text), 1).toString(), 'a\n');
    for (const text of ['\n', '\r\n']) assert.equal(format.encodeMessage(message(text), 1).toString(), '\n');
    for (const text of ['a\n\n', '\n\n', 'a\r\n\r\n', 'a\n\r\n', '\na', 'a\nb\n'])
      assert.throws(() => format.encodeMessage(message(text), 1), { code: 1007 }, JSON.stringify(text));
  });
  test('a line becomes a message, whether it ends with LF, CR LF or the output', () => {
    assert.deepEqual(
      readAll(format, Buffer.from('a\nb c\r\n\n\0\nlast')),
      ['a', 'b c', '', '\0', 'last'].map(one),
    );
  });
  test('invalid UTF-8 is reported', () => {
    assert.deepEqual(readAll(format, Buffer.from('a\n\xff\nb\n', 'latin1')), [
      one('a'),
      '! the text is not valid UTF-8',
      one('b'),
    ]);
  });
});

describe('line, shared', () => {
  const format = newFormat('line', true);
  test('each message begins with its id, and no client can forge another’s', () => {
    assert.equal(format.encodeMessage(message('8 hi'), 7).toString(), '7 8 hi\n');
    assert.equal(format.encodeMessage(message('8 hi\r\n'), 7).toString(), '7 8 hi\n');
    assert.throws(() => format.encodeMessage(message('a\n8 b'), 7), { code: 1007 });
    assert.throws(() => format.encodeMessage(message('a\n8 b\n'), 7), { code: 1007 });
  });
  test('output can address one, several or all connections', () => {
    assert.deepEqual(readAll(format, Buffer.from('7 hi you\n7,9,11 a\n* b\n7 \n7\n*\r\n')), [
      { to: [7], text: 'hi you' },
      { to: [7, 9, 11], text: 'a' },
      { to: 'all', text: 'b' },
      { to: [7], text: '' },
      { to: [7], text: '' },
      { to: 'all', text: '' },
    ]);
  });
  test('a line without ids is reported', () => {
    const why = '! the text does not begin with ids and a space';
    for (const line of ['', 'hi', ' 7', '7: hi', '-1 hi', '7,,8 x', '7, 8', '** x', '99999999999 x', '0x7 a'])
      assert.deepEqual(readAll(format, Buffer.from(`${line}\n`)), [why], line);
    const ids = Array.from({ length: 10_001 }, () => '7').join(',');
    assert.deepEqual(readAll(format, Buffer.from(`${ids} a\n`)), ['! more than 10000 recipients']);
  });
});

describe('null', () => {
  const format = newFormat('null', false);
  test('texts of several lines pass in both directions', () => {
    assert.equal(format.encodeMessage(message('a\nb\r\n'), 1).toString(), 'a\nb\r\n\0');
    assert.deepEqual(readAll(format, Buffer.from('a\nb\r\0\0c\r')), ['a\nb\r', '', 'c\r'].map(one));
  });
  test('a message with a NUL and a binary message are refused', () => {
    assert.throws(() => format.encodeMessage(message('a\0b'), 1), { code: 1007 });
    assert.throws(() => format.encodeMessage(message(Buffer.from('a')), 1), { code: 1003 });
  });
  test('each text of a shared program has ids', () => {
    const shared = newFormat('null', true);
    assert.equal(shared.encodeMessage(message('a\nb'), 4_294_967_295).toString(), '4294967295 a\nb\0');
    assert.deepEqual(readAll(shared, Buffer.from('1,2 a\nb\0')), [{ to: [1, 2], text: 'a\nb' }]);
  });
});

describe('length', () => {
  const format = newFormat('length', false);
  const shared = newFormat('length', true);
  const record = (kind: number, payload: string | Buffer, id?: number) => {
    const header = Buffer.alloc(id === undefined ? 5 : 9);
    header.writeUInt32BE(Buffer.from(payload as string).length);
    if (id !== undefined) header.writeUInt32BE(id, 4);
    header[header.length - 1] = kind;
    return Buffer.concat([header, Buffer.from(payload as string)]);
  };
  test('text and binary messages pass with any content', () => {
    assert.equal(format.encodeMessage(message('a\n\0'), 9).toString('hex'), '0000000301610a00');
    assert.equal(
      format.encodeMessage(message(Buffer.from([0, 10, 255])), 9).toString('hex'),
      '0000000302000aff',
    );
    assert.equal(shared.encodeMessage(message('a'), 258).toString('hex'), '00000001000001020161');
    assert.deepEqual(
      readAll(format, Buffer.concat([record(1, 'a\n\0ü'), record(2, Buffer.from([0, 255])), record(1, '')])),
      [one('a\n\0ü'), { to: [], hex: '00ff' }, one('')],
    );
    assert.deepEqual(readAll(shared, Buffer.concat([record(1, 'a', 7), record(2, 'b', 0)])), [
      { to: [7], text: 'a' },
      { to: 'all', hex: '62' },
    ]);
  });
  test('opened and closed connections are announced', () => {
    assert.deepEqual(shared.encodeOpened?.(7, { A: 'ü' }), record(0, '{"A":"ü"}', 7));
    assert.deepEqual(shared.encodeClosed?.(7, 1001, 'bye ☃'), record(8, closePayload(1001, 'bye ☃'), 7));
  });
  test('a program can close a connection, with or without a code', () => {
    const records = [
      record(8, '', 7),
      record(8, closePayload(4001), 7),
      record(8, closePayload(1000, 'so'), 0),
    ];
    assert.deepEqual(readAll(shared, Buffer.concat(records)), [
      { to: [7], code: 1000, reason: '' },
      { to: [7], code: 4001, reason: '' },
      { to: 'all', code: 1000, reason: 'so' },
    ]);
  });
  test('invalid records are reported', () => {
    const records = [
      record(9, 'a'),
      record(0, 'a'),
      record(8, 'a'),
      record(8, closePayload(1006)),
      record(1, Buffer.from([0xc3])),
    ];
    assert.deepEqual(readAll(format, Buffer.concat(records)), [
      '! unknown record kind 9',
      '! unknown record kind 0',
      '! the close code has only one byte',
      '! close code 1006 must not be sent',
      '! the text is not valid UTF-8',
    ]);
    assert.deepEqual(readAll(format, record(1, 'abc').subarray(0, 7)), ['!! the last record is truncated']);
  });
});

describe('json', () => {
  const format = newFormat('json', false);
  const shared = newFormat('json', true);
  const lines = (...values: unknown[]) =>
    Buffer.from(values.map(value => `${JSON.stringify(value)}\n`).join(''));
  test('text and binary messages pass with any content', () => {
    assert.deepEqual(format.encodeMessage(message('a\n\0"ü'), 9), lines({ text: 'a\n\0"ü' }));
    assert.deepEqual(format.encodeMessage(message(Buffer.from([0, 255])), 9), lines({ base64: 'AP8=' }));
    assert.deepEqual(shared.encodeMessage(message('a'), 7), lines({ id: 7, text: 'a' }));
    assert.deepEqual(
      readAll(format, lines({ text: 'a\n\0ü' }, { base64: 'AP8=' }, { text: '' }, { id: 3, text: 'x' })),
      [one('a\n\0ü'), { to: [], hex: '00ff' }, one(''), one('x')],
    );
  });
  test('opened and closed connections are announced', () => {
    assert.deepEqual(shared.encodeOpened?.(7, { A: 'b' }), lines({ id: 7, open: { A: 'b' } }));
    assert.deepEqual(shared.encodeClosed?.(7, 1001, 'x'), lines({ id: 7, close: 1001, reason: 'x' }));
  });
  test('output can address one, several or all connections, and close them', () => {
    const said = lines(
      { id: 7, text: 'a' },
      { id: [7, 8], text: 'b' },
      { id: '*', base64: '' },
      { id: 7, close: 4000, reason: 'c' },
    );
    assert.deepEqual(readAll(shared, said), [
      { to: [7], text: 'a' },
      { to: [7, 8], text: 'b' },
      { to: 'all', hex: '' },
      { to: [7], code: 4000, reason: 'c' },
    ]);
    assert.deepEqual(readAll(format, lines({ close: 1000 })), [{ to: [], code: 1000, reason: '' }]);
  });
  test('blank lines and byte order marks are ignored', () => {
    const bom = '\ufeff';
    for (const written of ['\n', ' \t\n', '\r\n', `${bom}\n`, `${bom}\r\n`, '  ', bom]) {
      const text = `${written}{"text":"a"}\n\n${bom}{"text":"b"}\r\n${written}`;
      for (const size of [1, 1000]) {
        assert.deepEqual(
          readAll(format, Buffer.from(text), size),
          [one('a'), one('b')],
          JSON.stringify(text),
        );
      }
    }
    assert.deepEqual(readAll(shared, Buffer.from(`${bom}\n{"id":7,"text":"a"}\n\n`)), [
      { to: [7], text: 'a' },
    ]);
  });
  test('an unpaired surrogate does not become invalid UTF-8', () => {
    assert.deepEqual(readAll(format, Buffer.from('{"text":"\\ud800"}\n')), [one('\ufffd')]);
  });
  test('invalid records are reported [7.4.1-4]', () => {
    const oneOf = '! the object does not have exactly one of "text", "base64", "close" and "publish"';
    const wrong: [string, string][] = [
      ['nil', '! the line is not valid JSON'],
      ['\u00a0', '! the line is not valid JSON'],
      ['{"text":"a"', '! the line is not valid JSON'],
      ['[]', '! the line is not a JSON object'],
      ['null', '! the line is not a JSON object'],
      ['7', '! the line is not a JSON object'],
      ['{}', oneOf],
      ['{"text":"a","close":1000}', oneOf],
      ['{"text":7}', '! a member has the wrong type'],
      ['{"close":"1000"}', '! a member has the wrong type'],
      ['{"close":1000,"reason":7}', '! a member has the wrong type'],
      ['{"close":1006}', '! close code 1006 must not be sent'],
      ['{"close":1e9}', '! close code 1000000000 must not be sent'],
      ['{"base64":"a"}', '! "base64" is not valid base64'],
      ['{"base64":"a_-="}', '! "base64" is not valid base64'],
      ['{"text":"a","to":1}', '! unknown member "to"'],
    ];
    for (const [line, why] of wrong) assert.deepEqual(readAll(format, Buffer.from(`${line}\n`)), [why], line);
    for (const id of ['', ',"id":"7"', ',"id":1.5', ',"id":[1,null]', ',"id":{}'])
      assert.deepEqual(
        readAll(shared, Buffer.from(`{"text":"a"${id}}\n`)),
        ['! an id is not a whole number'],
        id,
      );
  });
});

const samples: [ProgramFormat, boolean][] = [
  ['line', true],
  ['null', true],
  ['length', true],
  ['json', true],
  ['line', false],
  ['length', false],
];
for (const [name, isShared] of samples) {
  test(`${name}${isShared ? ', shared' : ''}: records are the same however the output is cut`, () => {
    const format = newFormat(name, isShared);
    const texts = ['', 'a', 'x'.repeat(99), 'ü☃', 'end'];
    const written = Buffer.concat(texts.map(text => format.encodeMessage(message(text), 7)));
    const due = texts.map(text => ({ to: isShared ? [7] : [], text }));
    for (let size = 1; size <= written.length; size++) assert.deepEqual(readAll(format, written, size), due);
  });

  test(`${name}${isShared ? ', shared' : ''}: a record that is too long fails before its end`, () => {
    const format = newFormat(name, isShared);
    const endless = Buffer.alloc(roomy[name] + 4 * limit, 'x');
    if (format.delimiter === undefined) endless.writeUInt32BE(limit + 1, 0);
    for (const size of [1000, endless.length]) {
      const [why, ...more] = readAll(format, endless, size);
      assert.match(String(why), /^!! a record is longer than \d+ bytes$/);
      assert.deepEqual(more, []);
    }
  });
}

test('a JSON record keeps every character of a text and every byte of a binary message', () => {
  const ascii = Buffer.from(Array.from({ length: 128 }, (_, byte) => byte)).toString();
  for (const isShared of [false, true]) {
    const format = newFormat('json', isShared);
    const ids = isShared ? { id: 4_294_967_295 } : {};
    for (const text of ['', ascii, '\u0001'.repeat(70_000), 'é€🐸\u2028\ufeff"\\']) {
      const expected = `${JSON.stringify({ ...ids, text })}\n`;
      assert.equal(format.encodeMessage(message(text), 4_294_967_295).toString(), expected);
    }
    for (const size of [0, 1, 2, 3, 4, 256, 70_000]) {
      const bytes = Buffer.from(Array.from({ length: size }, (_, at) => at & 255));
      const expected = `${JSON.stringify({ ...ids, base64: bytes.toString('base64') })}\n`;
      assert.equal(format.encodeMessage(message(bytes), 4_294_967_295).toString(), expected);
    }
  }
});
