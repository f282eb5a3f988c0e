/** Groups 12 and 13: permessage-deflate with every combination of parameters, with --compress on and takeover. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type MessageCodec, newDeflater, newInflater } from '../support/messageDeflate.ts';
import { connectRaw, type RawClient } from '../support/rawClient.ts';
import { closeFrame, closePayload, frame, opcode } from '../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../support/serverProcess.ts';
import { answer, assertEnd, assertFrame, assertUnharmed, show } from './runCases.ts';

const { continuation, text, binary } = opcode;
const rsv1 = 4;

/** The server compresses messages of this length or more. */
const compressedFrom = 1024;

interface Parameters {
  readonly serverNoContext?: true;
  readonly clientNoContext?: true;
  readonly serverBits?: number;
  /** A number is a hint in an offer, and an order in a response. True: the parameter has no value. */
  readonly clientBits?: number | true;
}

/** The header's value, and the offer in it that the server must accept. */
const offers: readonly (readonly [id: string, header: string, accepted: Parameters])[] = [
  ['13.1', 'permessage-deflate', {}],
  ['13.1a', 'permessage-deflate; client_max_window_bits', { clientBits: true }],
  ['13.2', 'permessage-deflate; server_no_context_takeover', { serverNoContext: true }],
  ['13.3', 'permessage-deflate; server_max_window_bits=9', { serverBits: 9 }],
  ['13.3a', 'permessage-deflate; server_max_window_bits=8', { serverBits: 8 }],
  ['13.4', 'permessage-deflate; server_max_window_bits=15', { serverBits: 15 }],
  [
    '13.5',
    'permessage-deflate; server_no_context_takeover; server_max_window_bits=9',
    { serverNoContext: true, serverBits: 9 },
  ],
  [
    '13.6',
    'permessage-deflate; server_no_context_takeover; server_max_window_bits=15',
    { serverNoContext: true, serverBits: 15 },
  ],
  [
    '13.7',
    'permessage-deflate; server_no_context_takeover; server_max_window_bits=9, permessage-deflate; server_no_context_takeover, permessage-deflate',
    { serverNoContext: true, serverBits: 9 },
  ],
  ['13.8', 'permessage-deflate; client_no_context_takeover', { clientNoContext: true }],
  ['13.9', 'permessage-deflate; client_max_window_bits=9', { clientBits: 9 }],
  ['13.10', 'permessage-deflate; client_max_window_bits=15', { clientBits: 15 }],
  [
    '13.11',
    'permessage-deflate; client_max_window_bits=9; client_no_context_takeover; server_max_window_bits=9; server_no_context_takeover',
    { clientBits: 9, clientNoContext: true, serverBits: 9, serverNoContext: true },
  ],
  [
    '13.12',
    'x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=16, permessage-deflate; mystery, permessage-deflate; client_max_window_bits="10"',
    { clientBits: 10 },
  ],
];

const sizes = [16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072];
const contents: readonly (readonly [what: string, kind: number, make: (size: number) => Buffer])[] = [
  ['zeroes', binary, size => Buffer.alloc(size)],
  ['JSON', text, size => Buffer.alloc(size, '{"id":12,"name":"Jürgen","tags":["a","b"]},')],
  ['words', text, words],
  ['noise', binary, noise],
];

/** Pseudo-random bytes, the same in every run. */
function noise(size: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(size);
  let state = seed;
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

function words(size: number): Buffer {
  return Buffer.from(noise(size).map(byte => (byte < 40 ? 0x20 : 0x61 + (byte % 26))));
}

/** A connection and its codecs, with the parameters agreed on. */
interface Peer {
  readonly id: string;
  readonly client: RawClient;
  readonly agreed: Parameters;
  readonly deflater: MessageCodec;
  readonly inflater: MessageCodec;
}

async function connectPeer(port: number, id: string, header: string): Promise<Peer> {
  const client = await connectRaw(port, {
    path: '/echo',
    headers: { 'Sec-WebSocket-Extensions': header },
  });
  const agreed = readAgreement(client.headers.get('sec-websocket-extensions') ?? '');
  return {
    id,
    client,
    agreed,
    deflater: newDeflater(agreed.clientNoContext !== true, Number(agreed.clientBits ?? 15)),
    inflater: newInflater(agreed.serverNoContext !== true, agreed.serverBits ?? 15),
  };
}

function readAgreement(header: string): Parameters {
  const [name, ...parameters] = header.split(';').map(part => part.trim());
  assert.equal(name, 'permessage-deflate', `the server agrees to compress: ${header}`);
  const given = new Map(parameters.map(parameter => parameter.split('=') as [string, string | undefined]));
  assert.equal(given.size, parameters.length, `no parameter is there twice: ${header}`);
  const agreed: Parameters = {
    ...(given.delete('server_no_context_takeover') && { serverNoContext: true }),
    ...(given.delete('client_no_context_takeover') && { clientNoContext: true }),
    ...(given.has('server_max_window_bits') && { serverBits: Number(given.get('server_max_window_bits')) }),
    ...(given.has('client_max_window_bits') && { clientBits: Number(given.get('client_max_window_bits')) }),
  };
  given.delete('server_max_window_bits');
  given.delete('client_max_window_bits');
  assert.deepEqual([...given.keys()], [], `all parameters are known: ${header}`);
  return agreed;
}

/** RFC 7692 §7.1.1, §7.1.2: what the client asks for is granted, and nothing is asked of it that it did not offer. */
function assertAgreement({ id, agreed }: Peer, offered: Parameters, mode: 'on' | 'takeover'): void {
  if (offered.serverNoContext || mode === 'on') assert.equal(agreed.serverNoContext, true, id);
  if (mode === 'on') assert.equal(agreed.clientNoContext, true, id);
  assert.equal(agreed.serverBits, offered.serverBits, id);
  if (agreed.clientBits !== undefined) {
    assert.notEqual(offered.clientBits, undefined, `${id}: client_max_window_bits was not offered`);
    const most = offered.clientBits === true ? 15 : offered.clientBits!;
    assert.ok(Number(agreed.clientBits) >= 8 && Number(agreed.clientBits) <= most, id);
  }
}

/** One compressed message, in fragments of `fragmentSize`, with a ping behind the first. */
async function sendDeflated(
  peer: Peer,
  kind: number,
  payload: Buffer,
  fragmentSize = Infinity,
): Promise<number> {
  const deflated = await peer.deflater.run(payload);
  const size = Math.min(fragmentSize, Math.max(1, deflated.length));
  let fragments = 0;
  for (let at = 0; at === 0 || at < deflated.length; at += size) {
    const options = { fin: at + size >= deflated.length, rsv: at === 0 ? rsv1 : 0 };
    peer.client.send(frame(at === 0 ? kind : continuation, deflated.subarray(at, at + size), options));
    if (at === 0 && !options.fin) peer.client.send(frame(opcode.ping, 'between'));
    fragments++;
  }
  return fragments;
}

/** @returns the answer's payload as it came over the wire */
async function assertEcho(peer: Peer, kind: number, payload: Buffer): Promise<Buffer> {
  const frameThatCame = await peer.client.nextFrame();
  if (frameThatCame === undefined) assert.fail(`${peer.id}: the stream ended where an echo was due`);
  const { fin, rsv, opcode: of } = frameThatCame;
  assert.deepEqual(
    { fin, opcode: of },
    { fin: true, opcode: kind },
    `${peer.id}: ${show(frameThatCame)} came`,
  );
  assert.ok(rsv === 0 || rsv === rsv1, `${peer.id}: ${show(frameThatCame)} came`);
  if (payload.length >= compressedFrom) assert.equal(rsv, rsv1, `${peer.id}: the echo is compressed`);
  const plain = rsv === 0 ? frameThatCame.payload : await peer.inflater.run(frameThatCame.payload);
  assert.ok(plain.equals(payload), `${peer.id}: the echo of ${payload.length} bytes is as it was`);
  return frameThatCame.payload;
}

/** Connects, does what is to be done, and closes in order. */
async function withPeer(
  port: number,
  id: string,
  header: string,
  run: (peer: Peer) => Promise<void>,
): Promise<void> {
  const peer = await connectPeer(port, id, header);
  const { client } = peer;
  try {
    await run(peer);
    client.send(closeFrame(1000));
    assertFrame(id, await client.nextFrame(), answer(opcode.close, closePayload(1000)));
    await assertEnd(id, client);
  } finally {
    client.destroy();
    peer.deflater.close();
    peer.inflater.close();
  }
}

for (const mode of ['on', 'takeover'] as const) {
  describe(`12, 13 compression, with --compress ${mode}`, { concurrency: 4, timeout: 120_000 }, () => {
    let server: ServerProcess;
    before(async () => {
      // Without the option, it is 'on'.
      server = await startServer(...(mode === 'on' ? [] : ['--compress', mode]));
    });
    after(() => assertUnharmed(server));

    for (const [id, header, accepted] of offers) {
      test(`${id} the server agrees to "${header}" and keeps to it`, async () => {
        await withPeer(server.port, id, header, async peer => {
          assertAgreement(peer, accepted, mode);
          for (const [what, kind, make] of contents) {
            for (const size of sizes) {
              const each = { ...peer, id: `${id} ${what} ${size} bytes` };
              const payload = make(size);
              await sendDeflated(each, kind, payload);
              await assertEcho(each, kind, payload);
            }
          }
        });
      });

      test(`${id} the server inflates fragmented messages under "${header}"`, async () => {
        await withPeer(server.port, id, header, async peer => {
          for (const [what, kind, make] of contents) {
            for (const fragmentSize of [1, 97, 4096, 32_768]) {
              const each = { ...peer, id: `${id} ${what} in fragments of ${fragmentSize}` };
              const payload = make(fragmentSize === 1 ? 4096 : 131_072);
              const fragments = await sendDeflated(each, kind, payload, fragmentSize);
              if (fragments > 1) {
                assertFrame(each.id, await peer.client.nextFrame(), answer(opcode.pong, 'between'));
              }
              await assertEcho(each, kind, payload);
            }
          }
        });
      });

      test(`${id} the server echoes 300 messages sent at once under "${header}", in order`, async () => {
        await withPeer(server.port, id, header, async peer => {
          const payloads = Array.from({ length: 300 }, (_, i) =>
            Buffer.from(`${i} `.repeat(1 + ((i * 37) % 800))),
          );
          for (const [i, payload] of payloads.entries()) {
            // Every third message is uncompressed: the sender may choose for each message.
            if (i % 3 === 0) peer.client.send(frame(text, payload));
            else await sendDeflated(peer, text, payload);
          }
          for (const payload of payloads) await assertEcho(peer, text, payload);
        });
      });

      test(`${id} the server refers back as far as "${header}" allows, and no further`, async () => {
        await withPeer(server.port, id, header, async peer => {
          const window = 2 ** (peer.agreed.serverBits ?? 15);
          const beyond = Buffer.concat(Array.from({ length: 20 }, () => noise(window + 50)));
          await sendDeflated(peer, binary, beyond);
          const far = await assertEcho(peer, binary, beyond);
          assert.ok(
            far.length > beyond.length * 0.9,
            `${id}: ${far.length} of ${beyond.length} bytes: it refers back too far`,
          );
          const within = Buffer.concat(Array.from({ length: 80 }, () => noise(100)));
          await sendDeflated(peer, binary, within);
          const near = await assertEcho(peer, binary, within);
          assert.ok(
            near.length < within.length / 2,
            `${id}: ${near.length} of ${within.length} bytes: it does not compress`,
          );
        });
      });

      test(`${id} the server keeps the context between messages as "${header}" has it`, async () => {
        await withPeer(server.port, id, header, async peer => {
          const window = 2 ** (peer.agreed.serverBits ?? 15);
          // Noise compresses only if the window still holds the first copy.
          const payload = noise(2048);
          await sendDeflated(peer, binary, payload);
          await assertEcho(peer, binary, payload);
          await sendDeflated(peer, binary, payload);
          const again = await assertEcho(peer, binary, payload);
          const isRemembered = again.length < payload.length / 4;
          assert.equal(isRemembered, peer.agreed.serverNoContext !== true && window > payload.length, id);
        });
      });
    }
  });
}
