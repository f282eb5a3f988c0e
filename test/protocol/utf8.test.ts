import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { checkUtf8, utf8Invalid, utf8Start } from '../../src/protocol/websocket/utf8.ts';

const check = (bytes: Uint8Array, state = utf8Start) => checkUtf8(state, bytes, 0, bytes.length);

/** Another decoder, which knows of beginnings: in stream mode it throws at what can begin no text. */
function isBeginning(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}

/** Whole, a beginning, or neither: in agreement with two decoders of Node's. */
function assertAgrees(bytes: Uint8Array): void {
  const state = check(bytes);
  if ((state === utf8Start) !== isUtf8(bytes)) assert.fail(`whole? ${Buffer.from(bytes).toString('hex')}`);
  if ((state !== utf8Invalid) !== isBeginning(bytes)) {
    assert.fail(`a beginning? ${Buffer.from(bytes).toString('hex')}`);
  }
}

describe('checkUtf8 agrees with Node', () => {
  test('on all sequences of one byte and of two [8.1-1]', () => {
    for (let first = 0; first < 256; first++) {
      assertAgrees(Uint8Array.of(first));
      for (let second = 0; second < 256; second++) assertAgrees(Uint8Array.of(first, second));
    }
  });

  test('on all first and second bytes of three and four, with good and bad ones behind', () => {
    const edges = [0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff];
    for (let first = 0xe0; first < 256; first++) {
      for (let second = 0; second < 256; second++) {
        for (const third of edges) assertAgrees(Uint8Array.of(first, second, third));
        if (first < 0xf0) continue;
        for (const third of [0x7f, 0x80, 0xbf]) {
          for (const fourth of edges) assertAgrees(Uint8Array.of(first, second, third, fourth));
        }
      }
    }
  });

  test('on every character there is', () => {
    const bytes = Buffer.alloc(4);
    for (let code = 0; code <= 0x10ffff; code++) {
      const isSurrogate = code >= 0xd800 && code <= 0xdfff;
      const length = encode(bytes, code);
      const state = checkUtf8(utf8Start, bytes, 0, length);
      if (state !== (isSurrogate ? utf8Invalid : utf8Start)) assert.fail(`U+${code.toString(16)}`);
    }
  });
});

/** UTF-8 as arithmetic, surrogates and all. */
function encode(bytes: Buffer, code: number): number {
  if (code < 0x80) {
    bytes[0] = code;
    return 1;
  }
  const length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (let i = length - 1, rest = code; i >= 0; i--, rest >>= 6) {
    bytes[i] = i > 0 ? 0x80 | (rest & 0x3f) : (0xf00 >> length) | rest;
  }
  return length;
}

const texts = [
  'Hello-µ@ßöäüàá-UTF-8!!',
  'κόσμε 日本語 🐸🐸🐸',
  `${'x'.repeat(60)}€`,
  `${'日本語'.repeat(40)}🐸`,
  `${'é'.repeat(70)}${'a'.repeat(70)}${'🐸'.repeat(30)}`,
];

describe('checkUtf8 in pieces', () => {
  test('says the same wherever the text is cut once', () => {
    for (const text of texts.map(text => Buffer.from(text))) {
      for (let cut = 0; cut <= text.length; cut++) {
        const before = check(text.subarray(0, cut));
        assert.notEqual(before, utf8Invalid);
        assert.equal(before === utf8Start, isUtf8(text.subarray(0, cut)), `cut at ${cut}`);
        assert.equal(check(text.subarray(cut), before), utf8Start);
      }
    }
  });

  test('says the same wherever it is cut twice', () => {
    const text = Buffer.from(texts[4]!).subarray(100, 260);
    for (let first = 0; first <= text.length; first++) {
      const begun = check(text.subarray(0, first));
      for (let second = first; second <= text.length; second++) {
        const middle = check(text.subarray(first, second), begun);
        assert.notEqual(middle, utf8Invalid);
        assert.equal(check(text.subarray(second), middle), check(text));
      }
    }
  });

  test('finds the first bad byte when it is there and not before, in short texts and long', () => {
    const bad = [
      '80',
      'ff',
      'c0',
      'c1',
      'f5',
      'c328',
      'e080',
      'e28228',
      'eda0',
      'f080',
      'f490',
      'f09f9028',
      'f09f28',
    ];
    for (const hex of bad) {
      const sequence = Buffer.from(hex, 'hex');
      for (const before of [0, 1, 2, 3, 44, 45, 46, 47, 48, 49, 50, 51, 52, 64, 100]) {
        for (const filler of ['a', 'é', '€', '🐸']) {
          const good = Buffer.from(filler.repeat(before));
          for (const behind of [0, 1, 60]) {
            const bytes = Buffer.concat([good, sequence, Buffer.alloc(behind, 0x61)]);
            const firstBad = good.length + sequence.length;
            assert.notEqual(check(bytes.subarray(0, firstBad - 1)), utf8Invalid, `${hex} not yet`);
            assert.equal(check(bytes.subarray(0, firstBad)), utf8Invalid, `${hex} at ${firstBad}`);
            assert.equal(check(bytes), utf8Invalid, hex);
          }
        }
      }
    }
  });

  test('agrees with Node on any bytes that are nearly text, in any pieces', () => {
    const nearlyText = fc
      .tuple(
        fc.string({ unit: 'binary', maxLength: 150 }),
        fc.array(fc.tuple(fc.nat(600), fc.nat(255)), { maxLength: 2 }),
      )
      .map(([text, changes]) => {
        const bytes = Buffer.from(text);
        for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
        return bytes;
      });
    fc.assert(
      fc.property(nearlyText, fc.array(fc.nat(600), { maxLength: 4 }), (bytes, cuts) => {
        let state = utf8Start;
        let from = 0;
        for (const cut of [...cuts.sort((a, b) => a - b), bytes.length]) {
          const to = Math.min(cut, bytes.length);
          state = checkUtf8(state, bytes, from, to);
          assert.equal(state !== utf8Invalid, isBeginning(bytes.subarray(0, to)));
          if (state === utf8Invalid) return;
          from = to;
        }
        assert.equal(state === utf8Start, isUtf8(bytes));
      }),
      { seed: 6455, numRuns: 2000 },
    );
  });

  test('looks at the bytes between start and end only', () => {
    for (const length of [3, 60, 200]) {
      const bytes = Buffer.concat([Buffer.from([0xff]), Buffer.alloc(length, 0x61), Buffer.from([0xff])]);
      assert.equal(checkUtf8(utf8Start, bytes, 1, length + 1), utf8Start);
      assert.equal(checkUtf8(utf8Start, bytes, 0, length + 1), utf8Invalid);
      assert.equal(checkUtf8(utf8Start, bytes, 1, length + 2), utf8Invalid);
    }
  });
});
