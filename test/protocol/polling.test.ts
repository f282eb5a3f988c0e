import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { describe, test } from 'node:test';
import { maxPostedLines } from '../../src/protocol/bounds.ts';
import { ProtocolError } from '../../src/protocol/codes.ts';
import {
  type Numbered,
  readPosted,
  readSent,
  showAnswer,
  showClosing,
  showContent,
  showEvent,
} from '../../src/protocol/polling.ts';
import { frame, opcode } from '../support/rawFrame.ts';

const unmasked = { key: null };
const zeroKey = Buffer.alloc(4);

/** What a client is told by these frames, as the answer to a poll. */
function told(...frames: Buffer[]): unknown {
  const before = Buffer.from('before');
  const bytes = Buffer.concat([before, ...frames]);
  const messages: Numbered[] = [];
  let closing: string | undefined;
  readSent(
    bytes,
    before.length,
    bytes.length,
    (isText, from, to) =>
      messages.push({ seq: messages.length + 1, content: showContent(isText, bytes, from, to) }),
    reason => {
      closing = reason;
    },
  );
  return JSON.parse(showAnswer(messages, closing));
}

describe('what is sent', () => {
  const serverFrame = (kind: number, payload: string | Buffer) => frame(kind, Buffer.from(payload), unmasked);

  test('texts, bytes, empty and long ones, and the end', () => {
    const long = 'x'.repeat(70_000);
    const strange = '"\\\n\r\u2028\0 é 👋';
    assert.deepEqual(
      told(
        serverFrame(opcode.text, strange),
        serverFrame(opcode.binary, Buffer.from([0, 255])),
        serverFrame(opcode.text, ''),
        serverFrame(opcode.text, long),
        serverFrame(opcode.close, Buffer.concat([Buffer.from([3, 0xe9]), Buffer.from('gone “so”')])),
      ),
      {
        messages: [
          { seq: 1, text: strange },
          { seq: 2, binary: 'AP8=' },
          { seq: 3, text: '' },
          { seq: 4, text: long },
        ],
        closed: { code: 1001, reason: 'gone “so”' },
      },
    );
  });

  test('a close frame without a code, and one without a reason', () => {
    assert.deepEqual(told(serverFrame(opcode.close, '')), {
      messages: [],
      closed: { code: 1005, reason: '' },
    });
    assert.equal(showClosing(1000, ''), '{"code":1000,"reason":""}');
  });

  test('an event is two lines and an empty one, whatever is in it', () => {
    const bytes = Buffer.from('a\n\ndata: b\r\n\u2028');
    const event = showEvent({ seq: 7, content: showContent(true, bytes, 0, bytes.length) });
    assert.match(event, /^id: 7\ndata: [^\r\n]+\n\n$/);
    assert.equal(JSON.parse(event.split('\n')[1]!.slice('data: '.length)).text, bytes.toString());
  });
});

describe('what is posted', () => {
  const lines = 'application/x-ndjson';
  /** As a client would frame it with the key 0. */
  const masked = (kind: number, payload: string | Buffer) =>
    frame(kind, Buffer.from(payload), { key: zeroKey });

  test('one message: text, unless it is called bytes', () => {
    const hello = Buffer.from('hello');
    for (const type of [undefined, 'text/plain', 'application/x-www-form-urlencoded', 'application/json'])
      assert.deepEqual(readPosted(type, hello), [masked(opcode.text, hello)], type);
    for (const type of ['application/octet-stream', 'Application/Octet-Stream ; x=y'])
      assert.deepEqual(readPosted(type, hello), [masked(opcode.binary, hello)], type);
    assert.deepEqual(readPosted(undefined, Buffer.alloc(0)), [masked(opcode.text, '')]);
  });

  test('several: one a line', () => {
    const body = Buffer.from('{"text":"é\\n"}\r\n{ "binary" : "AP8=" }\n{"text":""}\n');
    assert.deepEqual(readPosted(lines, body), [
      masked(opcode.text, 'é\n'),
      masked(opcode.binary, Buffer.from([0, 255])),
      masked(opcode.text, ''),
    ]);
    assert.deepEqual(readPosted(lines, Buffer.alloc(0)), []);
  });

  const refused: [string, string | undefined, string | Buffer, number][] = [
    ['text that is not UTF-8', undefined, Buffer.from([0xc3]), 400],
    ['lines that are not UTF-8', lines, Buffer.from([0xc3]), 400],
    ['a line that is no JSON', lines, '{"text":"a"}\nb\n', 400],
    ['an empty line', lines, '{"text":"a"}\n\n', 400],
    ['a line that is no record', lines, 'null', 400],
    ['text that is no string', lines, '{"text":1}', 400],
    ['both', lines, '{"text":"a","binary":"AP8="}', 400],
    ['half a character', lines, '{"text":"\\ud83d"}', 400],
    ['bytes that are no base64', lines, '{"binary":"a"}', 400],
    ['bytes that are cut short', lines, '{"binary":"AP8"}', 400],
    ['bytes of another alphabet', lines, '{"binary":"AP-_"}', 400],
    ['too many lines', lines, '{"text":"a"}\n'.repeat(maxPostedLines / 10), 413],
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
