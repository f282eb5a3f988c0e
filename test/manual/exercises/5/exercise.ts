import assert from 'node:assert/strict';
import { connectRaw, type RawClient } from '../../../support/rawClient.ts';
import { frame, opcode } from '../../../support/rawFrame.ts';
import type { ServerProcess } from '../../../support/serverProcess.ts';
import type { Exercise } from '../exercise.ts';
import { inWords } from '../frames.ts';
import { textBetween } from '../source.ts';

const websocket = 'src/wires/websocket.ts';

const task = `// Exercise 5: write the ping. Here is what you need; times are in milliseconds.
    //   now                  the time of this turn
    //   connection.heardAt   when the last byte of the client arrived
    //   connection.pingedAt  when the ping was sent that has no answer yet; 0 if there is none. It is yours to set
    //   pingInterval, pongTimeout   the options; 0 means never
    // 1. Send a ping to a client that has been silent for pingInterval: sendControl with Opcode.Ping and noPayload.
    // 2. Any byte that arrives after the ping is an answer.
    // 3. If none arrives for pongTimeout, call
    //    noteDeadline(connection, 'no answer to a ping', 'pongTimeout') and giveUp(connection, 'no answer to a ping').`;

/** Without a ping, the server closes the silent client with 1001 after two seconds. */
const often = '--ping-interval 100ms --idle-timeout 2s --close-timeout 500ms --log-level debug'.split(' ');

export const exercise: Exercise = {
  file: 'websocket.ts',
  replaces: websocket,
  starter: [
    {
      find: textBetween(
        websocket,
        'if (connection.heardAt >= connection.pingedAt',
        'sendControl(connection, Opcode.Ping, noPayload);\n    }',
      ),
      replace: task,
    },
  ],
  solution: [],
  checks: [
    {
      claim: 'a silent client gets a ping',
      async run(work) {
        await expectPing(await connectEcho(await work.startServer(...often)), 'A client was silent');
      },
    },
    {
      claim: 'a client that answers with pongs is pinged again, and stays connected',
      async run(work) {
        const client = await connectEcho(await work.startServer(...often));
        await expectPing(client, 'A client was silent');
        client.send(frame(opcode.pong));
        await expectPing(client, 'A client answered the ping with a pong, and was silent again');
        client.send(frame(opcode.pong));
        await expectEcho(client);
        client.destroy();
      },
    },
    {
      claim: 'any byte is an answer, not only a pong',
      async run(work) {
        const client = await connectEcho(await work.startServer(...often));
        await expectPing(client, 'A client was silent');
        await expectEcho(client);
        await expectPing(client, 'A client answered the ping with a text, and was silent again');
        client.destroy();
      },
    },
    {
      claim: 'a client that answers nothing is dropped after one ping, without a close frame',
      async run(work) {
        const server = await work.startServer(...often, '--pong-timeout', '300ms');
        const client = await connectEcho(server);
        const frames = await client.remainingFrames();
        client.destroy();
        const pings = frames.filter(one => one.opcode === opcode.ping).length;
        const others = frames.filter(one => one.opcode !== opcode.ping).map(inWords);
        const got = [`${pings} pings`, ...others].join(', ');
        const isRight = pings === 1 && others.length === 0;
        assert.ok(
          isRight,
          `A client answered nothing. It got ${got}; it should get one ping, and then the end of TCP.`,
        );
        const { why } = await server.untilLogged(({ event }) => event === 'closed');
        const isNamed = String(why).includes('--pong-timeout');
        assert.ok(
          isNamed,
          `The log says "${why}"; call noteDeadline before giveUp, so that it names the option.`,
        );
      },
    },
  ],
};

function connectEcho(server: ServerProcess): Promise<RawClient> {
  return connectRaw(server.port, { path: '/echo' });
}

async function expectPing(client: RawClient, situation: string): Promise<void> {
  const next = await client.nextFrame();
  assert.ok(next?.opcode === opcode.ping, `${situation}. It should get a ping, and got ${inWords(next)}.`);
}

async function expectEcho(client: RawClient): Promise<void> {
  client.send(frame(opcode.text, 'here'));
  let next = await client.nextFrame();
  // The server may have sent another ping meanwhile.
  while (next?.opcode === opcode.ping) next = await client.nextFrame();
  assert.ok(
    next?.opcode === opcode.text,
    `A client sent a text. It should get it back, and got ${inWords(next)}.`,
  );
}
