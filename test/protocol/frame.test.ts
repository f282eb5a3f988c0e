import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ProtocolError, type Role } from '../../src/protocol/codes.ts';
import {
  type FrameHeader,
  frameHeaderSize,
  newFrameHeader,
  readFrameHeader,
  writeFrameHeader,
} from '../../src/protocol/websocket/frame.ts';
import { type FrameOptions, frame } from '../support/rawFrame.ts';

const roles: readonly Role[] = ['server', 'client'];
const key = Buffer.from('37fa213d', 'hex');
const keyAsNumber = key.readInt32LE();

/** A frame as the peer of `role` sends it. */
const peerFrame = (role: Role, opcode: number, options: FrameOptions = {}, payload: string | Buffer = '') =>
  frame(opcode, payload, { key: role === 'server' ? key : null, ...options });

function read(role: Role, bytes: Buffer, mayCompress = false): { size: number; header: FrameHeader } {
  const header = newFrameHeader();
  return { size: readFrameHeader(header, { bytes, start: 0, end: bytes.length }, role, mayCompress), header };
}

/** Refused with 1002 by the first `count` bytes, and still awaited with one byte less. */
function assertRefusedAt(
  count: number,
  role: Role,
  bytes: Buffer,
  reason: RegExp,
  mayCompress = false,
): void {
  for (let length = 0; length < count; length++) {
    assert.equal(
      read(role, bytes.subarray(0, length), mayCompress).size,
      0,
      `${length} bytes are not enough`,
    );
  }
  for (let length = count; length <= bytes.length; length++) {
    assert.throws(
      () => read(role, bytes.subarray(0, length), mayCompress),
      (error: unknown) => {
        assert.ok(error instanceof ProtocolError);
        assert.equal(error.code, 1002);
        assert.match(error.message, reason);
        return true;
      },
      `refused by ${length} bytes`,
    );
  }
}

for (const role of roles) {
  const maskBytes = role === 'server' ? 4 : 0;

  describe(`readFrameHeader as a ${role}`, () => {
    test('reads every opcode, with and without FIN [5.2-a]', () => {
      for (const opcode of [0, 1, 2, 8, 9, 10]) {
        for (const fin of opcode < 8 ? [true, false] : [true]) {
          const { size, header } = read(role, peerFrame(role, opcode, { fin }, 'Hello'));
          assert.equal(size, 2 + maskBytes);
          assert.deepEqual(header, {
            fin,
            rsv1: false,
            opcode,
            length: 5,
            key: role === 'server' ? keyAsNumber : 0,
          });
        }
      }
    });

    test('reads every length, and nothing before the header is complete [5.2-c, 5.2-d, 5.2-e]', () => {
      const lengths = [
        0,
        1,
        125,
        126,
        127,
        255,
        256,
        65_535,
        65_536,
        2 ** 31,
        2 ** 32,
        2 ** 32 + 1,
        2 ** 53 - 1,
        2 ** 62,
      ];
      for (const length of lengths) {
        const bytes = peerFrame(role, 2, { announcedLength: length });
        for (let end = 0; end < bytes.length; end++) {
          assert.equal(read(role, bytes.subarray(0, end)).size, 0, `${length}: ${end} bytes`);
        }
        const { size, header } = read(role, bytes);
        assert.equal(size, bytes.length);
        assert.equal(header.length, length);
        assert.equal(header.key, role === 'server' ? keyAsNumber : 0);
      }
    });

    test('does not change the record while the header is incomplete', () => {
      const header = newFrameHeader();
      const before = { ...header };
      const bytes = peerFrame(role, 2, { announcedLength: 70_000 });
      readFrameHeader(header, { bytes, start: 0, end: bytes.length - 1 }, role, false);
      assert.deepEqual(header, before);
    });

    test('reads from the given start to the given end', () => {
      const bytes = Buffer.concat([
        Buffer.alloc(7, 0xff),
        peerFrame(role, 1, {}, 'Hello'),
        Buffer.alloc(7, 0xff),
      ]);
      const header = newFrameHeader();
      assert.equal(
        readFrameHeader(header, { bytes, start: 7, end: bytes.length }, role, false),
        2 + maskBytes,
      );
      assert.equal(header.length, 5);
      assert.equal(readFrameHeader(header, { bytes, start: 7, end: 7 }, role, false), 0);
      assert.equal(readFrameHeader(header, { bytes, start: 7, end: 8 }, role, false), 0);
    });

    test('refuses reserved opcodes by the first byte [5.2-4]', () => {
      for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
        for (const fin of [true, false]) {
          assertRefusedAt(1, role, peerFrame(role, opcode, { fin }), /reserved|fragmented/);
        }
      }
    });

    test('refuses reserved bits by the first byte [5.2-3, 5.8-1, 7692-6-3, 7692-6-6]', () => {
      for (const opcode of [0, 1, 2, 8, 9, 10]) {
        for (let rsv = 1; rsv <= 7; rsv++) {
          const bytes = peerFrame(role, opcode, { rsv });
          assertRefusedAt(1, role, bytes, /RSV/);
          const isCompressed = rsv === 4 && (opcode === 1 || opcode === 2);
          if (isCompressed) assert.equal(read(role, bytes, true).header.rsv1, true);
          else assertRefusedAt(1, role, bytes, /RSV/, true);
        }
      }
    });

    test('accepts RSV1 on a first fragment if compression is negotiated', () => {
      assert.equal(read(role, peerFrame(role, 1, { fin: false, rsv: 4 }), true).header.rsv1, true);
      assert.equal(read(role, peerFrame(role, 1, { fin: false }), true).header.rsv1, false);
    });

    test('refuses fragmented control frames by the first byte [5.4-2, 5.5-1]', () => {
      for (const opcode of [8, 9, 10]) {
        assertRefusedAt(1, role, peerFrame(role, opcode, { fin: false }), /fragmented/);
      }
    });

    test('refuses the wrong masking by the second byte [5.1-2, 5.1-3, 5.1-5, 5.1-6, 7.4.1-c]', () => {
      for (const opcode of [0, 1, 2, 8, 9, 10]) {
        for (const announcedLength of opcode < 8 ? [0, 125, 126, 65_536] : [0, 125]) {
          const bytes = peerFrame(role, opcode, { key: role === 'server' ? null : key, announcedLength });
          assertRefusedAt(2, role, bytes, /mask/);
        }
      }
    });

    test('refuses long control frames by the second byte, before the extended length [5.5-1]', () => {
      for (const opcode of [8, 9, 10]) {
        for (const announcedLength of [126, 65_535, 65_536]) {
          assertRefusedAt(2, role, peerFrame(role, opcode, { announcedLength }), /at most 125/);
        }
      }
    });

    test('refuses a length that is not minimal before the masking key arrives [5.2-6]', () => {
      for (const announcedLength of [0, 1, 124, 125]) {
        assertRefusedAt(4, role, peerFrame(role, 2, { announcedLength, lengthBytes: 2 }), /fewest/);
      }
      for (const announcedLength of [0, 125, 126, 65_535]) {
        assertRefusedAt(10, role, peerFrame(role, 2, { announcedLength, lengthBytes: 8 }), /fewest/);
      }
    });

    test('refuses a 64-bit length with the top bit set before the masking key arrives [5.2-5]', () => {
      for (const announcedLength of [2 ** 63, 2 ** 63 + 2 ** 20]) {
        assertRefusedAt(10, role, peerFrame(role, 2, { announcedLength }), /most significant bit/);
      }
    });

    test('accepts or refuses every pair of first bytes as the RFC says [5.2-8]', () => {
      for (let first = 0; first < 256; first++) {
        for (let second = 0; second < 256; second++) {
          const bytes = Buffer.from([first, second, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
          // A 64-bit length whose top bit is clear; as a 16-bit length it is 0x0001.
          bytes.set((second & 0x7f) === 127 ? [0, 1] : [0x80, 0], 2);
          const opcode = first & 0x0f;
          const isKnown = [0, 1, 2, 8, 9, 10].includes(opcode);
          const isControl = opcode >= 8;
          const isValid =
            (first & 0x70) === 0 &&
            isKnown &&
            second >= 0x80 === (role === 'server') &&
            !(isControl && (first < 0x80 || (second & 0x7f) > 125));
          let isAccepted = true;
          try {
            readFrameHeader(newFrameHeader(), { bytes, start: 0, end: bytes.length }, role, false);
          } catch (error) {
            assert.ok(error instanceof ProtocolError);
            isAccepted = false;
          }
          assert.equal(isAccepted, isValid, `${first.toString(16)} ${second.toString(16)}`);
        }
      }
    });
  });

  test(`the peer of a ${role} reads the headers that writeFrameHeader writes [5.2-6, 5.2-c, 5.2-d, 5.2-e, 5.3-1]`, () => {
    for (const length of [0, 1, 125, 126, 65_535, 65_536, 2 ** 31, 2 ** 32 + 5, 2 ** 53 - 1]) {
      const bytes = Buffer.alloc(24, 0xee);
      const end = writeFrameHeader(bytes, 3, 0x82, length, role === 'server' ? keyAsNumber : undefined);
      assert.equal(end - 3, frameHeaderSize(length) + maskBytes);
      assert.deepEqual(bytes.subarray(3, end), peerFrame(role, 2, { announcedLength: length }));
      assert.deepEqual(bytes.subarray(end), Buffer.alloc(24 - end, 0xee), 'and nothing behind it');
    }
  });
}

test('writeFrameHeader writes FIN, RSV1 and opcode as given, and a key of 0', () => {
  for (const first of [0x81, 0xc1, 0x02, 0x00, 0x88]) {
    const bytes = Buffer.alloc(6, 0xee);
    assert.equal(writeFrameHeader(bytes, 0, first, 0, 0), 6);
    assert.deepEqual([...bytes], [first, 0x80, 0, 0, 0, 0]);
  }
});
