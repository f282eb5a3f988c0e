import assert from 'node:assert/strict';
import { connectRaw } from '../../../support/rawClient.ts';
import { closeFrame, frame, opcode, type RawFrame } from '../../../support/rawFrame.ts';
import type { ServerProcess } from '../../../support/serverProcess.ts';
import type { Exercise, Work } from '../exercise.ts';
import { closeCodeOf, inWords } from '../frames.ts';
import { textBetween } from '../source.ts';

const endpoint = 'src/protocol/websocket/endpoint.ts';
const declaration = 'function readClose(bytes: Uint8Array, start: number, end: number): void {';

const task = `${declaration}
  // Exercise 6: read the payload of a close frame, bytes[start, end), which is unmasked. The server answers with the bytes from
  // control.start to control.end, which are the whole payload now. Set control.code and control.reason, which the handler gets.
  // 1. An empty payload is allowed: the code is CloseCode.NoStatusReceived, 1005.
  // 2. One byte is half a code: throw new ProtocolError(CloseCode.ProtocolError, 'say what is wrong').
  // 3. The code is in network byte order. isSendableCloseCode knows which codes a client may send; any other is a
  //    protocol error.
  // 4. The reason is UTF-8: checkTextEnd(checkText(utf8Start, bytes, from, to)) throws if it is not. This makes it a string:
  //    Buffer.from(bytes.subarray(from, to)).toString().
  // 5. The answer has the client's code, without the reason.
  control.code = CloseCode.NormalClosure;
  control.reason = '';
}
`;

export const exercise: Exercise = {
  file: 'endpoint.ts',
  replaces: endpoint,
  starter: [{ find: textBetween(endpoint, declaration, '\n}\n'), replace: task }],
  solution: [],
  checks: [
    {
      claim: 'the code is answered, and reported with the reason',
      async run(work) {
        const { answer, code, reason } = await close(work, closeFrame(4001, 'gone fishing'));
        const got = `A client closed with 4001 "gone fishing". The server answered with ${answer}`;
        assert.ok(answer.startsWith('a close frame with 4001'), `${got} instead of 4001.`);
        assert.ok(answer === 'a close frame with 4001', `${got}; leave the reason out.`);
        const reported = `A client closed with 4001 "gone fishing". The handler got ${code} "${reason}".`;
        assert.ok(code === 4001 && reason === 'gone fishing', reported);
      },
    },
    {
      claim: 'a close frame without a code is answered without one, and reported as 1005',
      async run(work) {
        const { answer, code } = await close(work, closeFrame());
        const got = `A client closed without a code. The server answered with ${answer}`;
        assert.ok(answer === 'a close frame without a code', `${got}, and should leave the code out, too.`);
        assert.ok(code === 1005, `A client closed without a code. The handler got ${code} instead of 1005.`);
      },
    },
    {
      claim: 'half a code is a protocol error',
      run: work => expectCode(work, 1002, [['half a code', frame(opcode.close, Buffer.from([3]))]]),
    },
    {
      claim: 'a code that nobody may send is a protocol error',
      run: work =>
        expectCode(
          work,
          1002,
          [0, 999, 1004, 1005, 1006, 1015, 2999, 5000].map(code => [String(code), closeFrame(code)]),
        ),
    },
    {
      claim: 'a reason that is not UTF-8 is invalid data',
      run: work =>
        expectCode(work, 1007, [
          ['a reason that has the byte FF', closeFrame(1000, Buffer.from([0xff]))],
          ['a reason that ends inside a character', closeFrame(1000, Buffer.from([0x61, 0xc3]))],
        ]),
    },
  ],
};

/** Sends the frame to an echo. @returns what the server answers, and what the handler gets */
async function close(work: Work, bytes: Buffer) {
  const server = await work.startServer('--log-level', 'debug');
  const earlier = new Set(server.logged().map(({ serial }) => serial));
  const answer = inWords(await answerTo(server, bytes));
  const { code, reason } = await server.untilLogged(
    ({ event, serial }) => event === 'closed' && !earlier.has(serial),
  );
  return { answer, code, reason };
}

async function answerTo({ port }: ServerProcess, bytes: Buffer): Promise<RawFrame | undefined> {
  const client = await connectRaw(port, { path: '/echo' });
  client.send(bytes);
  const answer = await client.nextFrame();
  await client.ended;
  client.destroy();
  return answer;
}

/** @param cases how a client closes, and its close frame */
async function expectCode(
  work: Work,
  code: number,
  cases: readonly (readonly [string, Buffer])[],
): Promise<void> {
  const server = await work.startServer();
  for (const [how, bytes] of cases) {
    const answer = await answerTo(server, bytes);
    const got = `A client closed with ${how}. The server answered with ${inWords(answer)}`;
    assert.ok(closeCodeOf(answer) === code, `${got}; it should fail the connection with ${code}.`);
  }
}
