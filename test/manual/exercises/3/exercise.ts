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
        const { readHandshake } = await load(work);
        const found = acceptIn(readHandshake(request));
        assert.equal(
          found,
          accept,
          `the key is dGhlIHNhbXBsZSBub25jZQ==, and the answer has ${found}, not ${accept}.`,
        );
      },
    },
    {
      claim: 'an incomplete head is not answered, wherever it is cut',
      async run(work) {
        const { readHandshake } = await load(work);
        for (let cut = 1; cut < request.length; cut++) {
          const answer = readHandshake(request.subarray(0, cut));
          const message = `only ${cut} of ${request.length} bytes of the head had arrived, and readHandshake answered.`;
          assert.equal(answer, undefined, message);
        }
      },
    },
    {
      claim: 'the name of the header may have any case, and its value spaces around it',
      async run(work) {
        const { readHandshake } = await load(work);
        for (const header of [
          'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
          'SEC-WEBSOCKET-KEY:dGhlIHNhbXBsZSBub25jZQ==',
          'Sec-WebSocket-Key:  dGhlIHNhbXBsZSBub25jZQ== ',
        ]) {
          const found = acceptIn(readHandshake(requestWith(header)));
          assert.equal(
            found,
            accept,
            `the request has "${header}", and the answer has ${found}, not ${accept}.`,
          );
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
        const { readHandshake } = await load(work);
        const frame = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]);
        const rest = readHandshake(Buffer.concat([request, frame]))?.rest;
        const shown = rest === undefined ? 'nothing' : `"${rest.toString('hex')}"`;
        const message = `8 bytes followed the head, ${frame.toString('hex')}, and rest is ${shown}.`;
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
