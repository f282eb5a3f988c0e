import assert from 'node:assert/strict';
import { parseResponseHead } from '../../../../src/protocol/http/head.ts';
import { finishHandshake, startHandshake } from '../../../../src/protocol/websocket/clientHandshake.ts';
import type { Exercise, Work } from '../exercise.ts';
import type * as Own from './starter.ts';

const load = async (work: Work) => (await work.load()) as typeof Own;

const requestWith = (keyHeader: string) =>
  Buffer.from(
    `GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n${keyHeader}\r\n\r\n`,
  );

/** The example of RFC 6455 §1.3. */
const request = requestWith('Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==');
const accept = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';

/** @throws Error that names the request, if readHandshake throws */
function answerTo(bytes: Buffer, { readHandshake }: typeof Own, request: string): Own.Answer | undefined {
  try {
    return readHandshake(bytes);
  } catch (error) {
    throw new Error(`${request}, and readHandshake threw an error: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

const acceptIn = (answer: Own.Answer | undefined) =>
  /\r\nSec-WebSocket-Accept: (.*)\r\n/.exec(answer?.response ?? '')?.[1];

export const exercise: Exercise = {
  file: 'handshake.ts',
  starter: 'starter.ts',
  solution: 'solution.ts',
  checks: [
    {
      claim: 'the answer has the accept value of the RFC’s example',
      async run(work) {
        const key = 'the key is dGhlIHNhbXBsZSBub25jZQ==';
        const found = acceptIn(answerTo(request, await load(work), key));
        assert.equal(found, accept, `${key}, and the answer has ${found}, not ${accept}.`);
      },
    },
    {
      claim: 'an incomplete head is not answered, wherever it is cut',
      async run(work) {
        const own = await load(work);
        for (let cut = 1; cut < request.length; cut++) {
          const arrived = `only ${cut} of ${request.length} bytes of the head had arrived`;
          const answer = answerTo(request.subarray(0, cut), own, arrived);
          assert.equal(answer, undefined, `${arrived}, and readHandshake answered.`);
        }
      },
    },
    {
      claim: 'the name of the header may have any case, and its value spaces around it',
      async run(work) {
        const own = await load(work);
        for (const header of [
          'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
          'SEC-WEBSOCKET-KEY:dGhlIHNhbXBsZSBub25jZQ==',
          'Sec-WebSocket-Key:  dGhlIHNhbXBsZSBub25jZQ== ',
        ]) {
          const sent = `the request has "${header}"`;
          const found = acceptIn(answerTo(requestWith(header), own, sent));
          assert.equal(found, accept, `${sent}, and the answer has ${found}, not ${accept}.`);
        }
      },
    },
    {
      claim: 'a request without the header is refused with an Error',
      async run(work) {
        const { readHandshake } = await load(work);
        let answer: unknown;
        try {
          answer = readHandshake(requestWith('X-Other: 1'));
        } catch (error) {
          assert.ok(error instanceof Error, 'readHandshake threw something that is no Error.');
          return;
        }
        assert.fail(
          `the request has no Sec-WebSocket-Key, and readHandshake returned ${JSON.stringify(answer)}.`,
        );
      },
    },
    {
      claim: 'the bytes behind the head are kept',
      async run(work) {
        const own = await load(work);
        const frame = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]);
        const sent = `8 bytes followed the head, ${frame.toString('hex')}`;
        const rest = answerTo(Buffer.concat([request, frame]), own, sent)?.rest;
        const shown = rest === undefined ? 'nothing' : `"${rest.toString('hex')}"`;
        const message = `${sent}, and rest is ${shown}.`;
        assert.ok(rest !== undefined && frame.equals(rest), message);
      },
    },
    {
      claim: 'a real client accepts the answer',
      async run(work) {
        const { readHandshake } = await load(work);
        const nonce = Buffer.from('16 random bytes.');
        const offer = {
          host: 'localhost',
          path: '/echo',
          subprotocols: [],
          headers: {},
          origin: undefined,
        } as const;
        const asked = { ...offer, compression: 'off' } as const;
        const answer = readHandshake(startHandshake(asked, nonce));
        const bytes = Buffer.from(answer?.response ?? '');
        const parsed = parseResponseHead(bytes, 0, bytes.length, 4096);
        assert.ok(parsed !== undefined, 'the client waits for more: the response has no empty line.');
        try {
          finishHandshake(parsed.head, asked, nonce);
        } catch (error) {
          assert.fail(`the client refused the answer: ${(error as Error).message}.`);
        }
      },
    },
  ],
};
