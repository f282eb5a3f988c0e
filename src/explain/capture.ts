/**
 * Reads a packet capture of one TCP connection, from tcpdump (pcap) or Wireshark (pcapng), and puts each direction's bytes in
 * order.
 */
import type { Buffer } from 'node:buffer';
import { opcodeNames } from '../protocol/codes.ts';
import type { SentBytes } from './explain.ts';
import { beginsHandshake } from './handshake.ts';

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

/** The link type of packets without a link's header. */
const rawIp = 101;
const ethernet = 1;

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
  return readPackets(bytes.toString('hex', 0, 4) === pcapngMagic ? readPcapng(bytes) : readPcap(bytes));
}

/** As `readCapture`, for packets that begin with the header of IP or Ethernet. */
export function readDumpedPackets(packets: readonly Buffer[]): SentBytes[] {
  // An Ethernet frame begins with its destination. Few destinations begin like an IP header.
  const isIp = (bytes: Buffer) => /^4[5-f]|^6/.test(bytes.toString('hex', 0, 1));
  return readPackets(packets.map(bytes => ({ linkType: isIp(bytes) ? rawIp : ethernet, bytes })));
}

function readPackets(packets: readonly Packet[]): SentBytes[] {
  const unknown = packets.find(packet => ipOffset(packet) === undefined);
  if (unknown !== undefined)
    throw new Error(
      `the capture has packets of link type ${unknown.linkType}; explain cannot read them, so capture on another interface, such as lo or eth0`,
    );
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
  const first = segments.find(({ data }) => data.length > 0);
  const client = opener ?? (first !== undefined && isFromServer(first.data) ? first.to : first?.from);
  const chunks: SentBytes[] = [];
  /** By sender. */
  const flows = new Map<string, Flow>();
  for (const segment of segments) {
    const flow = flows.get(segment.from) ?? { start: undefined, next: undefined, ahead: [], taken: 0 };
    flows.set(segment.from, flow);
    if (segment.isSyn) {
      const next = (segment.sequence + 1) >>> 0;
      if (flow.start !== undefined && flow.start !== next)
        throw new Error(
          'the capture has several connections between the same ports; keep the packets of one',
        );
      // The opening segment may be retransmitted, even after data.
      flow.start = next;
      flow.next ??= next;
    }
    if (segment.data.length === 0) continue;
    flow.next ??= firstSequence(segments, segment);
    addAhead(flow, segment);
    for (let taken = takeNext(flow); taken !== undefined; taken = takeNext(flow))
      if (taken.length > 0)
        chunks.push({ sender: segment.from === client ? 'client' : 'server', bytes: taken });
  }
  if ([...flows.values()].some(({ ahead, taken }) => ahead.length > taken))
    throw new Error('the capture has a gap: some bytes were sent, but not captured');
  return chunks;
}

/** One direction. */
interface Flow {
  /** The sequence number of the first byte, if the capture has the opening segment. */
  start: number | undefined;
  /** The sequence number of the next byte. */
  next: number | undefined;
  /** Segments that arrived ahead of it, by sequence number. The first `taken` ones have been taken. */
  ahead: Segment[];
  taken: number;
}

/** Sequence numbers wrap around, so only their difference can be compared. */
const distance = (sequence: number, from: number) => (sequence - from) | 0;

/** Inserts the segment by its sequence number, behind those with the same one. */
function addAhead(flow: Flow, segment: Segment): void {
  const { ahead, taken } = flow;
  let low = taken;
  let high = ahead.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (distance(ahead[middle]!.sequence, segment.sequence) > 0) high = middle;
    else low = middle + 1;
  }
  if (low === ahead.length) ahead.push(segment);
  else ahead.splice(low, 0, segment);
}

/** The first sequence number of a flow whose opening was not captured: its first segments may be out of order. */
function firstSequence(segments: readonly Segment[], { from, sequence }: Segment): number {
  let least = 0;
  for (const other of segments)
    if (other.from === from && other.data.length > 0)
      least = Math.min(least, distance(other.sequence, sequence));
  return (sequence + least) >>> 0;
}

/** Whether a server sent the first bytes of a flow: a server does not mask its frames (RFC 6455 §5.1). */
function isFromServer(data: Buffer): boolean {
  const sender = beginsHandshake(data, 0);
  if (sender !== undefined || data.length < 2) return sender === 'server';
  const [first = 0, second = 0] = data;
  const beginsFrame = (first & 0x30) === 0 && (first & 0xc0) !== 0x40 && opcodeNames.has(first & 15);
  return beginsFrame && second < 0x80;
}

/** Takes the segment with the next bytes, without retransmitted ones. */
function takeNext(flow: Flow): Buffer | undefined {
  const { ahead, taken } = flow;
  const next = flow.next!;
  const segment = ahead[taken];
  if (segment === undefined || distance(segment.sequence, next) > 0) return undefined;
  flow.taken++;
  if (flow.taken === ahead.length) Object.assign(flow, { ahead: [], taken: 0 });
  const { sequence, data } = segment;
  const fresh = data.subarray(Math.min(data.length, distance(next, sequence)));
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
    // The file ends inside a packet: the capture was interrupted.
    if (at + 16 + size > bytes.length) break;
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
      while (at + 2 <= bytes.length && [0x8100, 0x88a8, 0x9100].includes(bytes.readUInt16BE(at))) at += 4;
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

const tcpProtocol = 6;

/** IPv6: the offset of the TCP header behind the extension headers. @returns undefined if the packet is not TCP */
function tcpOffset(ip: Buffer): number | undefined {
  let next = ip[6];
  let at = 40;
  // Hop-by-hop, routing and destination options.
  while ((next === 0 || next === 43 || next === 60) && at + 2 <= ip.length) {
    next = ip[at];
    at += 8 * (ip[at + 1]! + 1);
  }
  if (next === 44)
    throw new Error('the capture has TCP segments in several IP fragments; explain cannot join them');
  return next === tcpProtocol ? at : undefined;
}

/** @returns undefined if the packet is not TCP */
function segmentOf(packet: Packet): Segment | undefined {
  const offset = ipOffset(packet);
  const ip = offset === undefined ? undefined : packet.bytes.subarray(offset);
  if (ip === undefined || ip.length < 40) return undefined;
  const isV4 = ip[0]! >>> 4 === 4;
  if (!isV4 && ip[0]! >>> 4 !== 6) return undefined;
  const headerSize = isV4 ? (ip[9] === tcpProtocol ? 4 * (ip[0]! & 15) : undefined) : tcpOffset(ip);
  if (headerSize === undefined) return undefined;
  if (isV4 && (ip.readUInt16BE(6) & 0x3fff) !== 0)
    throw new Error('the capture has TCP segments in several IP fragments; explain cannot join them');
  const length = isV4 ? ip.readUInt16BE(2) : ip.readUInt16BE(4);
  // With segmentation offload, the captured length is 0.
  const end = length === 0 ? ip.length : isV4 ? length : 40 + length;
  const tcp = ip.subarray(headerSize, end);
  if (tcp.length < 20) return undefined;
  if (end > ip.length)
    throw new Error(
      'the capture has only the beginning of each packet; capture them whole, with tcpdump -s 0',
    );
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
