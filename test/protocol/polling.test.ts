import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { describe, test } from 'node:test';
import { ProtocolError } from '../../src/protocol/codes.ts';
import { maxFrameHeader, maxPostedLinesBytes } from '../../src/protocol/limits.ts';
import {
  base64Size,
  type MessagePayload,
  messageStart,
  readPosted,
  readSentFrame,
  showClosing,
  summarizeFrames,
  textSize,
  writeContent,
} from '../../src/protocol/polling.ts';
import { frame, opcode } from '../support/rawFrame.ts';

const unmasked = { key: null };
const zeroKey = Buffer.alloc(4);

/** The content of each message in these frames, as JSON has it, written in slices of at most so many bytes. */
function contents(bytes: Buffer, sliceSize = 1000): string[] {
  const payload: MessagePayload = { isText: false, bytes, from: 0, to: 0 };
  const target = Buffer.alloc(sliceSize);
  const shown: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const next = readSentFrame(payload, bytes, at, bytes.length);
    at = next < 0 ? ~next : next;
    if (next < 0) continue;
    const { isText, from, to } = payload;
    const pieces: Buffer[] = [];
    do {
      pieces.push(Buffer.from(target.subarray(0, writeContent(payload, target, 0, sliceSize))));
    } while (payload.from < payload.to);
    const content = Buffer.concat(pieces);
    assert.equal(content.length, isText ? textSize(bytes, from, to) : base64Size(to - from), 'as measured');
    shown.push(content.toString());
  }
  return shown;
}

describe('an answer to a poll', () => {
  const serverFrame = (kind: number, payload: string | Buffer) => frame(kind, Buffer.from(payload), unmasked);
  const everyCharacter = `${String.fromCharCode(...Array.from({ length: 0x100 }, (_, code) => code))}\u2028\u2029 👋`;

  test('escapes texts as JSON.stringify does, wherever a slice ends', () => {
    const texts = [everyCharacter, '', '"\\\n\r\u2028\0 é 👋', 'x'.repeat(70_000), '\x01'.repeat(3000)];
    const bytes = Buffer.concat(texts.map(text => serverFrame(opcode.text, text)));
    for (const size of [6, 7, 8, 100, 1000]) {
      assert.deepEqual(
        contents(bytes, size),
        texts.map(text => JSON.stringify(text).slice(1, -1)),
        `in slices of ${size}`,
      );
    }
  });

  test('encodes bytes in base64, wherever a slice ends', () => {
    const payloads = [0, 1, 2, 3, 4, 5, 6, 1000].map(length =>
      Buffer.from(everyCharacter.repeat(9)).subarray(0, length),
    );
    const bytes = Buffer.concat(payloads.map(payload => serverFrame(opcode.binary, payload)));
    for (const size of [4, 5, 6, 7, 8, 100])
      assert.deepEqual(
        contents(bytes, size),
        payloads.map(payload => payload.toString('base64')),
      );
  });

  test('is empty if there is no room for a message', () => {
    for (const kind of [opcode.text, opcode.binary]) {
      const bytes = serverFrame(kind, 'abc');
      const payload: MessagePayload = { isText: false, bytes, from: 0, to: 0 };
      readSentFrame(payload, bytes, 0, bytes.length);
      for (const limit of [-100, 0, 3]) assert.equal(writeContent(payload, Buffer.alloc(9), 0, limit), 0);
      assert.equal(payload.to - payload.from, 3);
    }
  });

  test('counts messages but not control frames, and ends with a close frame', () => {
    const reason = Buffer.concat([Buffer.from([3, 0xe9]), Buffer.from('gone “so”')]);
    const before = Buffer.from('before');
    const frames = [
      serverFrame(opcode.text, 'a'),
      serverFrame(opcode.ping, 'ping'),
      serverFrame(opcode.binary, Buffer.alloc(70_000)),
      serverFrame(opcode.close, reason),
    ];
    const bytes = Buffer.concat([before, ...frames]);
    assert.deepEqual(summarizeFrames(bytes, before.length, bytes.length), {
      messages: 2,
      closing: '{"code":1001,"reason":"gone “so”"}',
    });
    assert.equal(contents(Buffer.concat(frames)).length, 2);
  });

  test('contains a close frame without a code, and one without a reason', () => {
    const bytes = serverFrame(opcode.close, '');
    assert.equal(summarizeFrames(bytes, 0, bytes.length).closing, '{"code":1005,"reason":""}');
    assert.equal(showClosing(1000, ''), '{"code":1000,"reason":""}');
  });

  test('has the number and the kind of a message before its content', () => {
    assert.deepEqual(JSON.parse(`${messageStart(7, true)}a"}`), { seq: 7, text: 'a' });
    assert.deepEqual(JSON.parse(`${messageStart(8, false)}AA=="}`), { seq: 8, binary: 'AA==' });
  });
});

describe('the body of a POST', () => {
  const lines = 'application/x-ndjson';
  /** As a client would frame it with the key 0. */
  const masked = (kind: number, payload: string | Buffer) =>
    frame(kind, Buffer.from(payload), { key: zeroKey });

  test('is one text message, unless its Content-Type says bytes', () => {
    const hello = Buffer.from('hello');
    for (const type of [undefined, 'text/plain', 'application/x-www-form-urlencoded', 'application/json'])
      assert.deepEqual(readPosted(type, hello), [masked(opcode.text, hello)], type);
    for (const type of ['application/octet-stream', 'Application/Octet-Stream ; x=y'])
      assert.deepEqual(readPosted(type, hello), [masked(opcode.binary, hello)], type);
    assert.deepEqual(readPosted(undefined, Buffer.alloc(0)), [masked(opcode.text, '')]);
  });

  test('becomes the frame of a long message without a copy, if there is room before it', () => {
    const long = Buffer.alloc(70_000, 'x');
    const memory = Buffer.concat([Buffer.alloc(maxFrameHeader), long]);
    const body = memory.subarray(maxFrameHeader);
    const [inPlace] = readPosted(undefined, body, true);
    assert.deepEqual(inPlace, masked(opcode.text, long));
    assert.equal(inPlace!.buffer, memory.buffer);
    assert.notEqual(readPosted(undefined, body)[0]!.buffer, memory.buffer);
  });

  test('has several messages in NDJSON, one in each line', () => {
    const body = Buffer.from('{"text":"é\\n"}\r\n{ "binary" : "AP8=" }\n{"text":""}\n');
    assert.deepEqual(readPosted(lines, body), [
      masked(opcode.text, 'é\n'),
      masked(opcode.binary, Buffer.from([0, 255])),
      masked(opcode.text, ''),
    ]);
    assert.deepEqual(readPosted(lines, Buffer.alloc(0)), []);
  });

  test('may have blank lines, and byte order marks at the start of lines', () => {
    const body = Buffer.from('\ufeff{"text":"a"}\n\n\r\n \t\n\ufeff{"text":"b"}\r\n\r\n\n');
    assert.deepEqual(readPosted(lines, body), [masked(opcode.text, 'a'), masked(opcode.text, 'b')]);
    assert.deepEqual(readPosted(lines, Buffer.from('\ufeff\n')), []);
    assert.throws(() => readPosted(lines, Buffer.from('\n\nnull')), /line 3 /);
  });

  const refused: [string, string | undefined, string | Buffer, number][] = [
    ['text that is not UTF-8', undefined, Buffer.from([0xc3]), 400],
    ['lines that are not UTF-8', lines, Buffer.from([0xc3]), 400],
    ['a line that is no JSON', lines, '{"text":"a"}\nb\n', 400],
    ['a line that is no record', lines, 'null', 400],
    ['text that is no string', lines, '{"text":1}', 400],
    ['both', lines, '{"text":"a","binary":"AP8="}', 400],
    ['half a character', lines, '{"text":"\\ud83d"}', 400],
    ['bytes that are no base64', lines, '{"binary":"a"}', 400],
    ['bytes that are cut short', lines, '{"binary":"AP8"}', 400],
    ['bytes of another alphabet', lines, '{"binary":"AP-_"}', 400],
    ['too many lines', lines, '{"text":"a"}\n'.repeat(maxPostedLinesBytes / 10), 413],
  ];
  for (const [what, type, body, code] of refused) {
    test(`is refused: ${what}`, () => {
      assert.throws(
        () => readPosted(type, Buffer.from(body as string)),
        error => error instanceof ProtocolError && error.code === code,
      );
    });
  }
});
