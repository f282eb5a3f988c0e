import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeAnyFrame } from '../../src/protocol/websocket/anyFrame.ts';
import { FrameReader, frame } from '../support/rawFrame.ts';

const payload = Buffer.from('masked');

test('a frame has the bytes of RFC 6455 §5.2 in every form', () => {
  for (const size of [0, 125, 126, 65_535, 65_536])
    assert.deepEqual(
      encodeAnyFrame({ first: 0x82, payload: Buffer.alloc(size, 7) }),
      frame(2, Buffer.alloc(size, 7), { key: null }),
    );
  const odd = { first: 0x71, payload, announced: 2n ** 64n - 1n, lengthBytes: 8 } as const;
  assert.equal(encodeAnyFrame(odd).toString('latin1'), '\x71\x7f\xff\xff\xff\xff\xff\xff\xff\xffmasked');
  assert.equal(
    encodeAnyFrame({ ...odd, announced: 3n, lengthBytes: 2 }).toString('latin1'),
    '\x71\x7e\x00\x03masked',
  );
});

test('any number can be a masking key, even 0: only its low 32 bits count', () => {
  for (const key of [0, 1, 0x80000001, 0xffffffff, -1, 0x37fa213d]) {
    const reader = new FrameReader();
    reader.add(encodeAnyFrame({ first: 0x81, payload, key }));
    const read = reader.next();
    assert.deepEqual([read?.isMasked, read?.payload.toString()], [true, 'masked'], String(key));
  }
});
