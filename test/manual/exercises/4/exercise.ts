import assert from 'node:assert/strict';
import { connectRaw, type RawClient } from '../../../support/rawClient.ts';
import { frame as frameOf, opcode } from '../../../support/rawFrame.ts';
import type { Exercise, Work } from '../exercise.ts';

const size = 1024;

/** The last line of `readFrameHeader` that knows the length, and has not read the key. */
const place = '  if (start + size + maskBytes > end) return 0;\n';

export const exercise: Exercise = {
  file: 'frame.ts',
  replaces: 'src/protocol/websocket/frame.ts',
  starter: [
    {
      find: place,
      replace: `  // Exercise 4: here \`length\` is known. If this is a server, refuse a frame with more than 1,024 bytes of payload.\n${place}`,
    },
  ],
  solution: [
    {
      find: place,
      replace: `  if (role === 'server' && length > 1024)
    throw new ProtocolError(CloseCode.MessageTooBig, 'a frame carries at most 1,024 bytes here');\n${place}`,
    },
  ],
  checks: [
    {
      claim: 'a frame of 1,024 bytes is echoed',
      async run(work) {
        const client = await connectTo(work);
        client.send(frameOf(opcode.binary, Buffer.alloc(size)));
        const frame = await client.nextFrame();
        const told = frame === undefined ? 'no frame' : `a frame of ${frame.payload.length} bytes`;
        assert.equal(
          frame?.payload.length,
          size,
          `the server sent ${told} back; does the limit exclude 1,024?`,
        );
        client.destroy();
      },
    },
    {
      claim: 'a message of three frames of 1,000 bytes is echoed',
      async run(work) {
        const client = await connectTo(work);
        const part = Buffer.alloc(1000);
        const first = frameOf(opcode.binary, part, { fin: false });
        const second = frameOf(opcode.continuation, part, { fin: false });
        client.send(first, second, frameOf(opcode.continuation, part));
        const frame = await client.nextFrame();
        const told = frame === undefined ? 'no frame' : `a frame of ${frame.payload.length} bytes`;
        assert.equal(
          frame?.payload.length,
          3000,
          `the server sent ${told} back: the limit is for a frame, not a message.`,
        );
        client.destroy();
      },
    },
    ...[
      { claim: 'a header with a length of 1,025 is refused with 1009', header: [0x82, 0xfe, 0x04, 0x01] },
      {
        claim: 'a header with a length of 65,536, in eight bytes, is refused with 1009',
        header: [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0],
      },
    ].map(({ claim, header }) => ({
      claim,
      async run(work: Work) {
        const client = await connectTo(work);
        client.send(Buffer.from([...header, 0, 0, 0, 0]));
        // A server that waits for the payload sends nothing, and ends the connection after this.
        client.socket.end();
        const [frame] = await client.remainingFrames();
        assert.ok(
          frame !== undefined && frame.opcode === opcode.close,
          'the server did not refuse the header: it waits for the payload.',
        );
        const code = frame.payload.readUInt16BE(0);
        assert.equal(code, 1009, `the server closed the connection with ${code}, not with 1009.`);
      },
    })),
  ],
};

async function connectTo(work: Work): Promise<RawClient> {
  const { port } = await work.startServer();
  return connectRaw(port, { path: '/echo' });
}
