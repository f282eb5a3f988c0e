/** Packet captures, built byte by byte. */
import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { describe, test } from 'node:test';
import { isPacketCapture, readCapture, readDumpedPackets } from '../../src/explain/capture.ts';

interface Segment {
  readonly from: 'client' | 'server';
  readonly sequence: number;
  readonly data?: string;
  readonly isSyn?: boolean;
  /** The client's port; another one is another connection. */
  readonly port?: number;
}

function tcp({ from, sequence, data = '', isSyn = false, port = 50000 }: Segment): Buffer {
  const segment = Buffer.alloc(20 + data.length);
  const ports = from === 'client' ? [port, 8080] : [8080, port];
  segment.writeUInt16BE(ports[0]!, 0);
  segment.writeUInt16BE(ports[1]!, 2);
  segment.writeUInt32BE(sequence, 4);
  segment[12] = 5 << 4;
  segment[13] = isSyn ? (from === 'client' ? 2 : 18) : 16;
  segment.write(data, 20, 'latin1');
  return segment;
}

function ipV4(segment: Segment): Buffer {
  const payload = tcp(segment);
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + payload.length, 2);
  header[9] = 6;
  header.set([127, 0, 0, 1, 127, 0, 0, 1], 12);
  return Buffer.concat([header, payload]);
}

function ipV6(segment: Segment): Buffer {
  const payload = tcp(segment);
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(payload.length, 4);
  header[6] = 6;
  header[23] = 1;
  header[39] = 1;
  return Buffer.concat([header, payload]);
}

/** The type of each link, and the size of its header. */
const links = {
  'BSD loopback': { type: 0, before: 4 },
  Ethernet: { type: 1, before: 14 },
  'raw IP': { type: 101, before: 0 },
  'Linux any': { type: 113, before: 16 },
  'Linux any, version 2': { type: 276, before: 20 },
} as const;

function pcap(packets: readonly Buffer[], type: number, isLittle = true): Buffer {
  const u32 = (value: number) => {
    const bytes = Buffer.alloc(4);
    if (isLittle) bytes.writeUInt32LE(value);
    else bytes.writeUInt32BE(value);
    return bytes;
  };
  const header = [u32(0xa1b2c3d4), Buffer.alloc(12), u32(65535), u32(type)];
  const records = packets.flatMap(packet => [u32(0), u32(0), u32(packet.length), u32(packet.length), packet]);
  return Buffer.concat([...header, ...records]);
}

function pcapng(packets: readonly Buffer[], type: number): Buffer {
  const block = (kind: number, body: Buffer) => {
    const padded = Buffer.concat([body, Buffer.alloc((4 - (body.length % 4)) % 4)]);
    const bytes = Buffer.alloc(12 + padded.length);
    bytes.writeUInt32LE(kind, 0);
    bytes.writeUInt32LE(bytes.length, 4);
    padded.copy(bytes, 8);
    bytes.writeUInt32LE(bytes.length, bytes.length - 4);
    return bytes;
  };
  const section = Buffer.from('4d3c2b1a01000000ffffffffffffffff', 'hex');
  const link = Buffer.alloc(8);
  link.writeUInt16LE(type);
  const packetBody = (packet: Buffer) => {
    const head = Buffer.alloc(20);
    head.writeUInt32LE(packet.length, 12);
    head.writeUInt32LE(packet.length, 16);
    return Buffer.concat([head, packet]);
  };
  return Buffer.concat([
    block(0x0a0d0d0a, section),
    block(1, link),
    ...packets.map(packet => block(6, packetBody(packet))),
  ]);
}

const session: readonly Segment[] = [
  { from: 'client', sequence: 999, isSyn: true },
  { from: 'server', sequence: 4_999, isSyn: true },
  { from: 'client', sequence: 1000, data: 'GET ' },
  { from: 'server', sequence: 5000, data: 'HTTP' },
  { from: 'client', sequence: 1004, data: '/chat' },
];

function shown(capture: Buffer): string {
  return readCapture(capture)
    .map(({ sender, bytes }) => `${sender} ${bytes.toString('latin1')}`)
    .join(', ');
}

const inOrder = 'client GET , server HTTP, client /chat';

describe('a capture of one connection', () => {
  for (const [name, { type, before }] of Object.entries(links)) {
    test(`is read from ${name}, over IPv4 and IPv6, from pcap and pcapng`, () => {
      const etherType = (version: number) => {
        const head = Buffer.alloc(before);
        if (type === 1) head.writeUInt16BE(version === 4 ? 0x0800 : 0x86dd, 12);
        return head;
      };
      const v4 = session.map(segment => Buffer.concat([etherType(4), ipV4(segment)]));
      const v6 = session.map(segment => Buffer.concat([etherType(6), ipV6(segment)]));
      for (const packets of [v4, v6]) {
        for (const capture of [pcap(packets, type), pcap(packets, type, false), pcapng(packets, type)]) {
          assert.ok(isPacketCapture(capture));
          assert.equal(shown(capture), inOrder);
        }
      }
    });
  }

  const raw = (segments: readonly Segment[]) => pcap(segments.map(ipV4), links['raw IP'].type);

  test('is put in order, without retransmitted bytes, when sequence numbers wrap around', () => {
    const wrapped: Segment[] = [
      { from: 'client', sequence: 0xffff_fffd, data: 'ab' },
      { from: 'client', sequence: 1, data: 'ef' },
      { from: 'client', sequence: 0xffff_fffd, data: 'ab' },
      { from: 'client', sequence: 0xffff_fffe, data: 'bcd' },
      { from: 'client', sequence: 0, data: 'de' },
    ];
    assert.equal(
      readCapture(raw(wrapped))
        .map(({ bytes }) => bytes.toString())
        .join(''),
      'abcdef',
    );
  });

  test('begins with the client if its start was not captured', () => {
    assert.equal(shown(raw(session.slice(2))), inOrder);
    const withoutSyn = [session[1]!, { from: 'server', sequence: 5000, data: 'HTTP' } as const];
    assert.equal(shown(raw(withoutSyn)), 'server HTTP');
  });

  test('with a gap before 100,000 segments is refused within seconds', { timeout: 10_000 }, () => {
    const behind = Array.from(
      { length: 100_000 },
      (_, i): Segment => ({ ...session[2]!, sequence: 5000 + i, data: 'x' }),
    );
    assert.throws(() => readCapture(raw([session[0]!, ...behind])), /the capture has a gap/);
  });

  test('with segments in reverse order is put in order', () => {
    const [opening] = session;
    const text = 'abcdefghij';
    const reversed = [...text]
      .map((data, i): Segment => ({ from: 'client', sequence: opening!.sequence + 1 + i, data }))
      .reverse();
    assert.equal(
      readCapture(raw([opening!, ...reversed]))
        .map(({ bytes }) => bytes.toString())
        .join(''),
      text,
    );
  });

  test('that begins with an unmasked frame begins with the server', () => {
    const frames: Segment[] = [
      { from: 'server', sequence: 1, data: '\x82\x02hi' },
      { from: 'client', sequence: 9, data: '\x82\x80\0\0\0\0' },
    ];
    assert.match(shown(raw(frames)), /^server .*, client /s);
  });

  test('may begin with segments that are out of order, and repeat its opening segment', () => {
    const swapped: Segment[] = [session[4]!, session[3]!, session[2]!];
    assert.equal(shown(raw(swapped)), 'server HTTP, client GET , client /chat');
    assert.equal(shown(raw([...session.slice(0, 3), session[0]!, ...session.slice(3)])), inOrder);
  });

  test('is refused if the ports were used again by another connection', () => {
    const again: Segment[] = [...session, { from: 'client', sequence: 7000, isSyn: true }];
    assert.throws(() => readCapture(raw(again)), /has several connections between the same ports/);
  });

  test('is refused if its packets are cut, fragmented, or of an unknown link', () => {
    const [packet] = session.slice(2, 3).map(ipV4);
    assert.throws(
      () => readCapture(pcap([packet!.subarray(0, -2)], 101)),
      /only the beginning of each packet/,
    );
    const fragment = Buffer.from(packet!);
    fragment[6] = 0x20;
    assert.throws(() => readCapture(pcap([fragment], 101)), /in several IP fragments/);
    assert.throws(() => readCapture(pcap([packet!], 127)), /has packets of link type 127/);
  });

  test('that ends inside a packet is read up to the packet before', () => {
    const whole = raw(session);
    assert.equal(shown(whole.subarray(0, whole.length - 2)), 'client GET , server HTTP');
  });

  test('is read behind VLAN tags and IPv6 extension headers', () => {
    const tagged = session.map(segment =>
      Buffer.concat([Buffer.alloc(12), Buffer.from('88a80001810000020800', 'hex'), ipV4(segment)]),
    );
    assert.equal(shown(pcap(tagged, 1)), inOrder);
    const extended = session.map(segment => {
      const packet = ipV6(segment);
      const options = Buffer.from([6, 0, 1, 4, 0, 0, 0, 0]);
      const bytes = Buffer.concat([packet.subarray(0, 40), options, packet.subarray(40)]);
      bytes[6] = 0;
      bytes.writeUInt16BE(packet.readUInt16BE(4) + options.length, 4);
      return bytes;
    });
    assert.equal(shown(pcap(extended, 101)), inOrder);
  });

  test('is read from the output of tcpdump -X and -XX', () => {
    const packets = session.map(ipV4);
    const link = Buffer.concat([Buffer.alloc(12), Buffer.from('0800', 'hex')]);
    for (const dumped of [packets, packets.map(packet => Buffer.concat([link, packet]))]) {
      const read = readDumpedPackets(dumped).map(({ sender, bytes }) => `${sender} ${bytes}`);
      assert.equal(read.join(', '), inOrder);
    }
  });

  test('is refused if it has a gap, several connections, or no TCP', () => {
    const gap: Segment[] = [...session, { from: 'client', sequence: 1020, data: 'late' }];
    assert.throws(() => readCapture(raw(gap)), /the capture has a gap/);
    const two: Segment[] = [...session, { from: 'client', sequence: 1, data: 'x', port: 50001 }];
    assert.throws(
      () => readCapture(raw(two)),
      /has 2 connections, such as 127\.0\.0\.1:50000 and 127\.0\.0\.1:8080; keep one/,
    );
    assert.throws(() => readCapture(raw([])), /the capture has no TCP packet/);
  });

  test('that is truncated or damaged anywhere causes only these errors', () => {
    for (const whole of [raw(session), pcapng(session.map(ipV4), links['raw IP'].type)]) {
      for (let end = 4; end < whole.length; end++) {
        try {
          readCapture(whole.subarray(0, end));
        } catch (error) {
          assert.match((error as Error).message, /^the capture has /);
        }
      }
      for (let at = 4; at < whole.length; at++) {
        for (const byte of [0, 0x7f, 0xff]) {
          const damaged = Buffer.from(whole);
          damaged[at] = byte;
          try {
            readCapture(damaged);
          } catch (error) {
            assert.match((error as Error).message, /^the capture has /, `byte ${at} = ${byte}`);
          }
        }
      }
    }
  });
});
