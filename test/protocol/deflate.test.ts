import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import { ProtocolError } from '../../src/protocol/codes.ts';
import { inflateSlice } from '../../src/protocol/limits.ts';
import {
  beginInflation,
  deflateLarge,
  deflateMessage,
  endInflation,
  type Inflation,
  inflateSome,
  inflationSize,
  newDeflateContext,
  rewindInflation,
  slices,
} from '../../src/protocol/websocket/deflate.ts';
import { newRandom } from '../support/random.ts';
import { newZlibPeer } from '../support/zlibPeer.ts';

const MiB = 1024 * 1024;

/** A payload in a buffer with room behind it, as message.ts keeps it. */
function inflate(
  state: ReturnType<typeof newDeflateContext>,
  payload: Uint8Array,
  maxLength = 16 * MiB,
): Buffer {
  const buffer = Buffer.concat([payload, Buffer.alloc(16, 0xee)]);
  const inflation = beginInflation(state, buffer, payload.length, maxLength);
  while (!inflateSome(inflation));
  return inflation.output.subarray(0, inflation.size);
}

const fresh = (keeps = false, windowBits = 15) => newDeflateContext(keeps, windowBits);
const hex = (digits: string) => Buffer.from(digits.replaceAll(' ', ''), 'hex');
const compress = (state: ReturnType<typeof newDeflateContext>, plain: Uint8Array) =>
  deflateMessage(state, plain, 0, plain.length);
/** What a stream of zlib's made of the same bytes would be flushed as, less the tail. */
const zlibCompress = (plain: Uint8Array) =>
  deflateRawSync(plain, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);

function assertRefused(run: () => unknown, code: number): void {
  assert.throws(run, (error: unknown) => {
    assert.ok(error instanceof ProtocolError, String(error));
    assert.equal(error.code, code);
    return true;
  });
}

/** Messages like a chat's, which repeat themselves, some long, some that no one could compress. */
function chatter(seed: number, count: number, longest: number): Buffer[] {
  const random = newRandom(seed);
  const words = [
    '{"type":"message","nick":"',
    'pollywog',
    '","text":"',
    'hello',
    'world',
    '"}',
    '日本語',
    '\n',
  ];
  return Array.from({ length: count }, () => {
    const length = random.oneIn(8) ? random.below(longest) : random.below(300);
    if (random.oneIn(6)) return random.bytes(length);
    let text = '';
    while (text.length < length) text += random.pick(words) + random.below(50);
    return Buffer.from(text);
  });
}

describe('the examples of RFC 7692', () => {
  test('§7.2.3.1: a compressed message is inflated [7692-7.2.2-1]', () => {
    assert.equal(inflate(fresh(), hex('f2 48 cd c9 c9 07 00')).toString(), 'Hello');
  });

  test('§7.2.3.2: with context takeover, the second message may refer to the first [7692-7.2.2-2]', () => {
    const state = fresh(true);
    assert.equal(inflate(state, hex('f2 48 cd c9 c9 07 00')).toString(), 'Hello');
    assert.equal(inflate(state, hex('f2 00 11 00 00')).toString(), 'Hello');
    assertRefused(() => inflate(fresh(), hex('f2 00 11 00 00')), 1007);
  });

  test('§7.2.3.3: a block without compression is inflated', () => {
    assert.equal(inflate(fresh(), hex('00 05 00 fa ff 48 65 6c 6c 6f 00')).toString(), 'Hello');
  });

  test('§7.2.3.4: a block with BFINAL set is inflated', () => {
    assert.equal(inflate(fresh(), hex('f3 48 cd c9 c9 07 00 00')).toString(), 'Hello');
  });

  test('§7.2.3.5: a message of two blocks is inflated [7692-7.2.3-1]', () => {
    assert.equal(inflate(fresh(), hex('f2 48 05 00 00 00 ff ff ca c9 c9 07 00')).toString(), 'Hello');
  });

  test('§7.2.3.6: an empty message is inflated', () => {
    assert.equal(inflate(fresh(), hex('00')).length, 0);
    assert.equal(inflate(fresh(true), hex('00')).length, 0);
  });
});

for (const keeps of [true, false]) {
  describe(`messages ${keeps ? 'with' : 'without'} context takeover`, () => {
    test('of a zlib stream are inflated, one after the other [7692-7.2.2-3]', async () => {
      const peer = newZlibPeer();
      const state = fresh(keeps);
      for (const plain of chatter(1, 150, 100_000)) {
        const payload = keeps ? await peer.compress(plain) : zlibCompress(plain);
        assert.deepEqual(inflate(state, payload), plain);
        assert.ok(state.window.length <= (keeps ? 2 ** 15 : 0), 'no more than a window is kept');
      }
      peer.close();
    });

    for (let windowBits = 8; windowBits <= 15; windowBits++) {
      test(`that we compress for ${windowBits} window bits need no larger window in zlib [7692-7.1.1.1-4, 7692-7.1.1.2-3, 7692-7.2.1-4]`, async () => {
        const peer = newZlibPeer({ windowBits });
        const state = fresh(keeps, windowBits);
        for (const plain of chatter(windowBits, 60, 5000)) {
          const payload = compress(state, plain);
          assert.deepEqual(await peer.inflate(payload), plain);
          assert.ok(state.window.length <= (keeps ? 2 ** windowBits : 0), 'no more than a window is kept');
        }
        peer.close();
      });

      test(`that a peer compresses within ${windowBits} window bits are inflated [7692-7.2.2-4]`, async () => {
        const peer = newZlibPeer({ windowBits });
        const state = fresh(keeps, windowBits);
        for (const plain of chatter(windowBits, 60, 5000)) {
          const payload = keeps ? await peer.compress(plain) : zlibCompress(plain);
          assert.deepEqual(inflate(state, payload), plain);
        }
        peer.close();
      });
    }
  });
}

for (const keeps of [true, false]) {
  test(`blocks after a block with BFINAL set are inflated, too, and may refer to it, ${keeps ? 'with' : 'without'} context takeover [7692-7.2.3-2]`, () => {
    const state = fresh(keeps);
    const payload = Buffer.concat([
      deflateRawSync(Buffer.from('Hello ')),
      zlibCompress(Buffer.from('World')),
    ]);
    assert.equal(inflate(state, payload).toString(), 'Hello World');
    const referring = Buffer.concat([deflateRawSync(Buffer.from('Hello')), hex('f2 00 11 00 00')]);
    assert.equal(inflate(state, referring).toString(), 'HelloHello');
    assert.equal(state.window.toString(), keeps ? 'Hello WorldHelloHello' : '');
    if (!keeps) assertRefused(() => inflate(state, hex('f2 00 11 00 00')), 1007);
  });
}

for (const keeps of [true, false]) {
  test(`a stream that ends with its last block (Z_FINISH) is a whole message, ${keeps ? 'with' : 'without'} context takeover`, () => {
    const state = fresh(keeps);
    for (const text of ['', 'a', 'Welcome', 'Welcome again']) {
      assert.equal(inflate(state, deflateRawSync(Buffer.from(text))).toString(), text);
    }
    const large = Buffer.concat(chatter(6, 50, 100_000));
    assert.deepEqual(inflate(state, deflateRawSync(large)), large);
    const two = Buffer.concat([deflateRawSync(Buffer.from('one ')), deflateRawSync(Buffer.from('two'))]);
    assert.equal(inflate(state, two).toString(), 'one two');
    assert.equal(state.window.length, keeps ? 2 ** 15 : 0);
  });

  test(`a stream with a last block that is cut short is refused, ${keeps ? 'with' : 'without'} context takeover`, () => {
    const whole = deflateRawSync(Buffer.from('Hello world, hello world, and this is the rest of it'));
    for (let length = 1; length < whole.length; length++) {
      assertRefused(() => inflate(fresh(keeps), whole.subarray(0, length)), 1007);
    }
  });
}

test('zlib refuses data for a larger window than its own, so these tests detect a wrong window', async () => {
  const plain = Buffer.concat([newRandom(3).bytes(700), newRandom(3).bytes(700)]);
  const peer = newZlibPeer({ windowBits: 9 });
  await assert.rejects(peer.inflate(compress(fresh(false, 10), plain)), { code: 'Z_DATA_ERROR' });
});

test('with context takeover, a repeated message is compressed to a few bytes [7692-7.2.1-5]', () => {
  const plain = newRandom(5).bytes(300);
  const keeping = fresh(true);
  const first = compress(keeping, plain);
  assert.ok(first.length > 300);
  assert.ok(compress(keeping, plain).length < 30);
  const forgetting = fresh(false);
  compress(forgetting, plain);
  assert.deepEqual(compress(forgetting, plain), compress(fresh(), plain));
});

test('only the bytes between start and end are compressed [7692-7.2.3-3]', () => {
  const bytes = Buffer.from('(Hello)');
  assert.equal(inflate(fresh(), deflateMessage(fresh(), bytes, 1, 6)).toString(), 'Hello');
  assert.equal(inflate(fresh(), deflateMessage(fresh(), bytes, 3, 3)).length, 0);
  assert.deepEqual(deflateMessage(fresh(), bytes, 3, 3), hex('00'));
});

test('the context is a copy: the caller may reuse the bytes of the message', () => {
  const plain = newRandom(7).bytes(600);
  for (const windowBits of [9, 15]) {
    const kept = plain.subarray(-(2 ** windowBits));
    const [sender, receiver] = [fresh(true, windowBits), fresh(true, windowBits)];
    const sent = Buffer.from(plain);
    const payload = compress(sender, sent);
    sent.fill(0);
    assert.deepEqual(sender.window, kept);
    inflate(receiver, payload).fill(0);
    assert.deepEqual(receiver.window, kept);
  }
});

describe('the limit on the inflated size of a message', () => {
  test('is exact to the byte', () => {
    for (const length of [1, 1000, 100_000]) {
      const payload = zlibCompress(Buffer.alloc(length, 0x2a));
      assert.equal(inflate(fresh(), payload, length).length, length);
      if (length > 1) assertRefused(() => inflate(fresh(), payload, length - 1), 1009);
    }
  });

  test('counts all streams of a message together', () => {
    const payload = Buffer.concat([deflateRawSync(Buffer.alloc(1000)), zlibCompress(Buffer.from('x'))]);
    assertRefused(() => inflate(fresh(), payload, 1000), 1009);
    assertRefused(() => inflate(fresh(true), payload, 1000), 1009);
    assert.equal(inflate(fresh(), payload, 1001).length, 1001);
  });

  test('refuses a compression bomb of half a gigabyte without using its memory', () => {
    const block = deflateRawSync(Buffer.alloc(MiB), { finishFlush: constants.Z_FULL_FLUSH });
    const bomb = Buffer.concat(Array.from({ length: 512 }, () => block));
    const before = process.resourceUsage().maxRSS;
    assertRefused(() => inflate(fresh(), bomb, MiB), 1009);
    const grownKiB = process.resourceUsage().maxRSS - before;
    assert.ok(grownKiB < 64 * 1024, `${grownKiB} KiB`);
  });

  test('does not exist if it is Infinity', () => {
    const plain = Buffer.alloc(3 * MiB, 0x2a);
    assert.deepEqual(inflate(fresh(), zlibCompress(plain), Number.POSITIVE_INFINITY), plain);
  });
});

describe('invalid DEFLATE data', () => {
  const broken: readonly [what: string, payload: Buffer][] = [
    ['a block of the reserved type', hex('ff ff ff')],
    ['a stored block with lengths that differ', hex('00 05 00 00 00 48 65 6c 6c 6f 00')],
    ['a reference to before the beginning', hex('f2 00 11 00 00')],
    ['a stored block that is cut short', hex('00 05 00 fa ff 48 65 6c')],
    ['noise', newRandom(1).bytes(100)],
  ];
  for (const [what, payload] of broken) {
    test(`is refused with 1007: ${what}`, () => assertRefused(() => inflate(fresh(), payload), 1007));
  }

  test('is refused if a message is cut short, and no part is delivered', () => {
    const plain = Buffer.from('Hello world, hello world, and this is the rest of it');
    const payload = zlibCompress(plain);
    for (let length = 1; length < payload.length; length++) {
      assertRefused(() => inflate(fresh(), payload.subarray(0, length)), 1007);
    }
  });

  test('is refused if it has too many final blocks, because each costs a call of zlib', () => {
    const block = deflateRawSync(Buffer.from('a'));
    const payload = Buffer.concat([...Array.from({ length: 5000 }, () => block), hex('00')]);
    assertRefused(() => inflate(fresh(), payload), 1007);
  });

  test('does not change the context', () => {
    const state = fresh(true);
    inflate(state, hex('f2 48 cd c9 c9 07 00'));
    assertRefused(() => inflate(state, hex('ff ff ff')), 1007);
    assert.equal(inflate(state, hex('f2 00 11 00 00')).toString(), 'Hello');
  });
});

test('our messages end as the RFC requires: they have no final block, and zlib inflates them completely after the tail [7692-7.2.1-1]', () => {
  for (const plain of chatter(9, 40, 5000)) {
    const whole = Buffer.concat([compress(fresh(), plain), hex('00 00 ff ff'), hex('03 00')]);
    assert.deepEqual(inflateRawSync(whole), plain);
  }
});

test('a large message is compressed in slices with the earlier context, unless the result is too large', () => {
  for (const plain of [
    Buffer.concat(chatter(13, 400, 20_000)),
    newRandom(14).bytes(MiB),
    Buffer.alloc(3 * MiB),
  ]) {
    const [sender, receiver] = [fresh(true), fresh(true)];
    const before = newRandom(15).bytes(1000);
    inflate(receiver, compress(sender, before));
    if (plain.length < 3 * MiB) {
      assert.equal(deflateLarge(sender, plain, 0, plain.length, plain.length / 20), undefined);
      assert.deepEqual(sender.window, before, 'as if it had not been tried');
    }
    const all = Buffer.concat([Buffer.from('..'), before, plain, Buffer.from('..')]);
    const payload = deflateLarge(sender, all, 2, all.length - 2, all.length);
    assert.ok(payload !== undefined);
    assert.deepEqual(inflate(receiver, payload), all.subarray(2, -2));
    assert.deepEqual(sender.window, receiver.window);
    assert.deepEqual(inflate(receiver, compress(sender, before)), before);
  }
});

describe('a large message is inflated in slices', () => {
  const text = Buffer.concat(chatter(11, 400, 20_000));
  const noise = newRandom(12).bytes(MiB);
  const zeros = Buffer.alloc(3 * MiB);
  const begin = (
    state: ReturnType<typeof newDeflateContext>,
    payload: Buffer,
    maxLength = 16 * MiB,
  ): Inflation =>
    beginInflation(state, Buffer.concat([payload, Buffer.alloc(16)]), payload.length, maxLength);
  /** Inflates to the end. @returns the number of slices */
  const finish = (inflation: Inflation): number => {
    for (let count = 1; ; count++) {
      const { at, size } = inflation;
      const isWhole = inflateSome(inflation);
      assert.ok(inflation.size - size <= inflateSlice, 'no more than a slice comes out');
      assert.ok(inflation.at - at <= inflateSlice, 'no more than a slice goes in');
      if (isWhole) return count;
    }
  };
  const outputOf = ({ output, size }: Inflation) => output.subarray(0, size);

  test('if this Node supports it, which it does', () => assert.equal(slices.areSupported, true));

  for (const [what, plain] of Object.entries({ text, noise, zeros })) {
    test(`completely (${what}), and the next message may refer to it`, () => {
      const [sender, state] = [fresh(true), fresh(true)];
      const inflation = begin(state, compress(sender, plain));
      assert.ok(finish(inflation) >= plain.length / inflateSlice);
      assert.deepEqual(outputOf(inflation), plain);
      assert.equal(inflation.stream, undefined, "zlib's state is gone");
      assert.deepEqual(state.window, plain.subarray(-(2 ** 15)));
      assert.deepEqual(inflate(state, compress(sender, plain)), plain);
    });
  }

  test('if it consists of several streams, each as long as a slice', () => {
    const plain = noise.subarray(0, inflateSlice);
    const streams = Array.from({ length: 5 }, () => deflateRawSync(plain));
    const inflation = begin(fresh(), Buffer.concat(streams));
    finish(inflation);
    assert.deepEqual(outputOf(inflation), Buffer.concat(Array(5).fill(plain)));
  });

  test('if it starts over in the middle of its second stream', () => {
    const state = fresh(true);
    inflate(state, hex('f2 48 cd c9 c9 07 00'));
    const referring = Buffer.concat([deflateRawSync(zeros), hex('f2 00 11 00 00')]);
    const inflation = begin(state, referring);
    while (inflation.size < zeros.length) inflateSome(inflation);
    rewindInflation(inflation);
    assert.equal(inflationSize(inflation), referring.length + 16, 'it holds the compressed message alone');
    assert.equal(state.window.toString(), 'Hello');
    const noisy = begin(state, Buffer.concat([compress(fresh(), noise)]));
    inflateSome(noisy);
    assert.ok(inflationSize(noisy) > noise.length + inflateSlice, 'the inflated bytes count');
    rewindInflation(noisy);
    finish(noisy);
    assert.deepEqual(outputOf(noisy), noise);
  });

  test('until it is abandoned: then its memory is free at once, and the context is unchanged', () => {
    const state = fresh(true);
    const inflation = begin(state, compress(fresh(), noise));
    inflateSome(inflation);
    endInflation(inflation);
    assert.deepEqual([inflation.stream, inflation.output.length, state.window.length], [undefined, 0, 0]);
  });

  test('until it is refused, because it is too large, cut short, or invalid near its end', () => {
    const payload = zlibCompress(text);
    const broken = Buffer.from(payload);
    broken.fill(0xff, broken.length - 100);
    const bound = text.length - 1;
    for (const [bytes, maxLength, code] of [
      [payload, bound, 1009],
      [payload.subarray(0, -20), MiB * 16, 1007],
      [broken, MiB * 16, 1007],
    ] as const) {
      const inflation = begin(fresh(), bytes, maxLength);
      assert.ok(!inflateSome(inflation));
      assertRefused(() => finish(inflation), code);
      assert.equal(inflation.stream, undefined, "zlib's state is gone");
    }
  });

  test('even if its blocks are empty', () => {
    const empty = Buffer.alloc(5 * 40_000, hex('00 00 00 ff ff'));
    const inflation = begin(fresh(), Buffer.concat([empty, zlibCompress(Buffer.from('x'))]));
    assert.ok(finish(inflation) >= empty.length / inflateSlice);
    assert.equal(outputOf(inflation).toString(), 'x');
  });

  test('or, if Node does not support slices, in one piece with the same result', () => {
    slices.areSupported = false;
    try {
      for (const plain of [text, noise, zeros, Buffer.from('x')]) {
        const [sender, state] = [fresh(true), fresh(true)];
        for (let i = 0; i < 2; i++) assert.deepEqual(inflate(state, compress(sender, plain)), plain);
      }
      const two = Buffer.concat([deflateRawSync(text), deflateRawSync(noise)]);
      assert.deepEqual(inflate(fresh(), two), Buffer.concat([text, noise]));
      assertRefused(() => inflate(fresh(), two, text.length + noise.length - 1), 1009);
      assertRefused(() => inflate(fresh(), two.subarray(0, -20)), 1007);
    } finally {
      slices.areSupported = true;
    }
  });
});
