/** The chat page's codec against the server's, which was written independently. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { magic, newPacket, readPacket, writePacket } from '../../src/protocol/tpacket.ts';
import { Command, decodePackets, encodePacket, magicPacket } from '../../src/web/page/packets.ts';

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const text = fc.string({ unit: 'binary' });

/** As a browser's WebSocket delivers a message. */
function asMessage(...parts: Uint8Array[]): ArrayBuffer {
  return new Uint8Array(Buffer.concat(parts)).buffer;
}

function written(cmd: number, uid: number, p1: number, time: number, blob: string): Buffer {
  const bytes = Buffer.from(blob);
  const packet = Buffer.alloc(24 + bytes.length);
  writePacket(packet, 0, cmd, uid, p1, time | 0, bytes);
  return packet;
}

test('the server reads the packets that the page writes', () => {
  fc.assert(
    fc.property(int32, fc.integer({ min: 0, max: 8 }), text, fc.nat({ max: 1 }), (uid, command, blob, p2) => {
      const bytes = encodePacket(command, uid, blob, p2);
      const packet = newPacket();
      assert.equal(readPacket(packet, bytes, 0, bytes.length), bytes.length);
      assert.deepEqual([packet.uid, packet.cmd, packet.p1, packet.p2], [uid, command, 0, p2]);
      assert.equal(Buffer.from(bytes.subarray(packet.start, packet.end)).toString(), blob);
    }),
    { seed: 6455 },
  );
});

test('the page reads the packets that the server writes, back to back', () => {
  const packet = fc.record(
    { command: int32, uid: int32, p1: int32, time: fc.nat({ max: 0xffffffff }), blob: text },
    { noNullPrototype: true },
  );
  const packets = fc.array(packet, { maxLength: 5 });
  fc.assert(
    fc.property(packets, wanted => {
      const message = asMessage(
        ...wanted.map(({ command, uid, p1, time, blob }) => written(command, uid, p1, time, blob)),
      );
      assert.deepEqual(decodePackets(message), wanted);
    }),
    { seed: 6455 },
  );
});

test('the page’s magic packet is the one that the server expects', () => {
  const packet = newPacket();
  assert.equal(readPacket(packet, magicPacket, 0, magicPacket.length), 24 + magic.length);
  assert.equal(packet.cmd, 0);
  assert.equal(Buffer.from(magicPacket.subarray(24)).toString(), magic);
});

test('an invalid or truncated packet throws a RangeError', () => {
  const packet = written(Command.NewMsg, -1, 0x1000, 0, 'hello');
  for (let end = 1; end < packet.length; end++) {
    assert.throws(() => decodePackets(asMessage(packet.subarray(0, end))), RangeError, `cut at ${end}`);
  }
  const broken = [
    [0, 'X'.charCodeAt(0)],
    [8, 23],
    [8, 255],
    [11, 0x80],
  ] as const;
  for (const [at, value] of broken) {
    const other = Buffer.from(packet);
    other[at] = value;
    assert.throws(() => decodePackets(asMessage(other)), RangeError, `byte ${at}`);
  }
  assert.deepEqual(decodePackets(asMessage()), []);
});
