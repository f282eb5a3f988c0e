/**
 * Reads a packet capture of one TCP connection, from tcpdump (pcap) or Wireshark (pcapng), and puts each direction's bytes in
 * order.
 */
import { Buffer } from 'node:buffer';
import type { SentBytes } from './explain.ts';

/** A TCP segment with data. */
interface Segment {
  readonly from: string;
  readonly to: string;
  readonly sequence: number;
  readonly isSyn: boolean;
  readonly isAck: boolean;
  readonly data: Buffer;
}

interface Packet {
  readonly linkType: number;
  readonly bytes: Buffer;
}

const pcapMagics: ReadonlyMap<string, 'little' | 'big'> = new Map([
  ['d4c3b2a1', 'little'],
  ['4d3cb2a1', 'little'],
  ['a1b2c3d4', 'big'],
  ['a1b23c4d', 'big'],
]);
const pcapngMagic = '0a0d0d0a';

export function isPacketCapture(bytes: Buffer): boolean {
  const magic = bytes.toString('hex', 0, 4);
  return pcapMagics.has(magic) || magic === pcapngMagic;
}

/**
 * @returns the bytes of both ends in the order of capture; the client is the end that opened the connection or, if the capture
 *   begins later, the one that sent first
 * @throws Error, a sentence, if the capture has no connection, several, or a gap
 */
export function readCapture(bytes: Buffer): SentBytes[] {
  const packets = bytes.toString('hex', 0, 4) === pcapngMagic ? readPcapng(bytes) : readPcap(bytes);
  const segments = packets.map(segmentOf).filter(segment => segment !== undefined);
  const ends = new Set(segments.map(({ from, to }) => [from, to].sort().join(' and ')));
  if (ends.size === 0) throw new Error('the capture has no TCP packet');
  if (ends.size > 1)
    throw new Error(
      `the capture has ${ends.size} connections, such as ${[...ends][0]}; keep one with a filter, for instance tcpdump -r FILE -w ONE port NUMBER`,
    );
  return inOrder(segments);
}

function inOrder(segments: readonly Segment[]): SentBytes[] {
  const opening = segments.find(({ isSyn }) => isSyn);
  // The server answers the client's SYN with SYN and ACK.
  const opener = opening?.isAck ? opening.to : opening?.from;
  const client = opener ?? segments.find(({ data }) => data.length > 0)?.from;
  const chunks: SentBytes[] = [];
  /** By sender: the next sequence number, and segments that arrived ahead of it. */
  const flows = new Map<string, { next: number | undefined; ahead: Segment[] }>();
  for (const segment of segments) {
    const flow = flows.get(segment.from) ?? { next: undefined, ahead: [] };
    flows.set(segment.from, flow);
    if (segment.isSyn) flow.next = (segment.sequence + 1) >>> 0;
    if (segment.data.length === 0) continue;
    flow.next ??= segment.sequence;
    flow.ahead.push(segment);
    for (let taken = takeNext(flow); taken !== undefined; taken = takeNext(flow))
      if (taken.length > 0)
        chunks.push({ sender: segment.from === client ? 'client' : 'server', bytes: taken });
  }
  if ([...flows.values()].some(({ ahead }) => ahead.length > 0))
    throw new Error('the capture has a gap: some bytes were sent, but not captured');
  return chunks;
}

/** Takes the segment with the next bytes, without retransmitted ones. */
function takeNext(flow: { next: number | undefined; ahead: Segment[] }): Buffer | undefined {
  const next = flow.next!;
  // Sequence numbers wrap around, so only their difference can be compared.
  const at = flow.ahead.findIndex(({ sequence }) => ((sequence - next) | 0) <= 0);
  if (at < 0) return undefined;
  const [{ sequence, data } = { sequence: 0, data: Buffer.alloc(0) }] = flow.ahead.splice(at, 1);
  const fresh = data.subarray(Math.min(data.length, (next - sequence) | 0));
  flow.next = (next + fresh.length) >>> 0;
  return fresh;
}

function readPcap(bytes: Buffer): Packet[] {
  const isLittle = pcapMagics.get(bytes.toString('hex', 0, 4)) === 'little';
  const u32 = (at: number) => (isLittle ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  const packets: Packet[] = [];
  if (bytes.length < 24) return packets;
  const linkType = u32(20) & 0xffff;
  for (let at = 24; at + 16 <= bytes.length; ) {
    const size = u32(at + 8);
    packets.push({ linkType, bytes: bytes.subarray(at + 16, at + 16 + size) });
    at += 16 + size;
  }
  return packets;
}

/** The blocks of a pcapng file: section header, interface description, enhanced packet, simple packet. */
const blocks = { section: 0x0a0d0d0a, interface: 1, simple: 3, packet: 6 } as const;

function readPcapng(bytes: Buffer): Packet[] {
  let isLittle = true;
  const u32 = (at: number) => (isLittle ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  const u16 = (at: number) => (isLittle ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at));
  const linkTypes: number[] = [];
  const packets: Packet[] = [];
  for (let at = 0; at + 12 <= bytes.length; ) {
    if (bytes.readUInt32BE(at) === blocks.section) {
      isLittle = bytes.readUInt32LE(at + 8) === 0x1a2b3c4d;
      linkTypes.length = 0;
    }
    const type = u32(at);
    const size = u32(at + 4);
    if (size < 12 || at + size > bytes.length) break;
    if (type === blocks.interface) linkTypes.push(u16(at + 8));
    if (type === blocks.packet && size >= 32) {
      const captured = bytes.subarray(at + 28, at + 28 + u32(at + 20));
      packets.push({ linkType: linkTypes[u32(at + 8)] ?? 1, bytes: captured });
    }
    if (type === blocks.simple)
      packets.push({ linkType: linkTypes[0] ?? 1, bytes: bytes.subarray(at + 12, at + size - 4) });
    at += size;
  }
  return packets;
}

/** The offset of the IP packet, by link type. */
function ipOffset({ linkType, bytes }: Packet): number | undefined {
  switch (linkType) {
    // BSD loopback.
    case 0:
      return 4;
    case 1: {
      // VLAN tags have four bytes each.
      let at = 12;
      while (at + 2 <= bytes.length && [0x8100, 0x88a8].includes(bytes.readUInt16BE(at))) at += 4;
      return at + 2;
    }
    case 12:
    case 101:
    case 228:
    case 229:
      return 0;
    // Linux "any", in two versions.
    case 113:
      return 16;
    case 276:
      return 20;
    default:
      return undefined;
  }
}

/** @returns undefined if the packet is not TCP */
function segmentOf(packet: Packet): Segment | undefined {
  const offset = ipOffset(packet);
  const ip = offset === undefined ? undefined : packet.bytes.subarray(offset);
  if (ip === undefined || ip.length < 40) return undefined;
  const isV4 = ip[0]! >>> 4 === 4;
  if (!isV4 && ip[0]! >>> 4 !== 6) return undefined;
  if ((isV4 ? ip[9] : ip[6]) !== 6) return undefined;
  const headerSize = isV4 ? 4 * (ip[0]! & 15) : 40;
  const end = isV4 ? ip.readUInt16BE(2) : 40 + ip.readUInt16BE(4);
  // With segmentation offload, the captured length is 0.
  const tcp = ip.subarray(headerSize, isV4 && end === 0 ? ip.length : end);
  if (tcp.length < 20) return undefined;
  const v4 = (at: number) => ip.subarray(at, at + 4).join('.');
  const v6 = (at: number) => `[${ip.toString('hex', at, at + 16).replace(/(.{4})(?=.)/g, '$1:')}]`;
  const [source, target] = isV4 ? [v4(12), v4(16)] : [v6(8), v6(24)];
  return {
    from: `${source}:${tcp.readUInt16BE(0)}`,
    to: `${target}:${tcp.readUInt16BE(2)}`,
    sequence: tcp.readUInt32BE(4),
    isSyn: (tcp[13]! & 2) !== 0,
    isAck: (tcp[13]! & 16) !== 0,
    data: tcp.subarray(4 * (tcp[12]! >>> 4)),
  };
}
