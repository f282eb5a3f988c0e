import assert from 'node:assert/strict';
import { listen } from '../../src/index.ts';
import { watchLog } from '../../src/log/log.ts';
import { type ConnectOptions, connectRaw } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { firstLine, newWorkshop, runLines, runShell, testExamples } from './examples.ts';

const withoutComment = (line: string) => line.replace(/ +#.*/, '');

testExamples('diagnostics', {
  'sh pollywog why 2': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, 'pollywog');
    const { port } = workshop.server!;
    const [why = '', whyThisOne = '', watch = '', trace = '', ...more] = code
      .trim()
      .split('\n')
      .map(withoutComment);
    assert.deepEqual(more, []);
    // The first client has the id 2.
    const client = await connectRaw(port);
    await runLines(workshop, trace);
    client.send(frame(opcode.text, 'hello'), frame(opcode.close, Buffer.from([3, 232])));
    await workshop.server!.untilLogged(({ event, id }) => event === 'frame' && id === 2);
    await client.remainingFrames();
    client.destroy();
    const explained = await runLines(workshop, `until ${why} 2>err; do :; done`);
    assert.match(explained, /client/);
    assert.equal(await runLines(workshop, whyThisOne), explained);

    // Watching begins at some time; then one of these is seen to close.
    let line: string | undefined;
    const watching = firstLine(workshop, watch).then(printed => {
      line = printed;
    });
    while (line === undefined)
      await runLines(workshop, 'pollywog-client ws://localhost:8080/echo -x hello -1');
    await watching;
    assert.match(line, /connected id=/);
  },

  'output debug connected': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, 'pollywog --log-level debug --ping-interval 1s --pong-timeout 1s');
    const server = workshop.server!;
    const client = await connectRaw(server.port, { path: '/echo' });
    client.send(frame(opcode.text, 'hello'));
    await server.untilLogged(({ event }) => event === 'closed');
    client.destroy();
    for (const line of code.trim().split('\n')) {
      const [, level, event, fields = ''] = /^\S+ (\w+) (\w+) (.*)$/.exec(line) ?? [];
      const logged = server.logged().find(one => one['event'] === event);
      assert.ok(logged !== undefined, line);
      const names = [...fields.replace(/"[^"]*"/g, '').matchAll(/(\w+)=/g)].map(([, name]) => name);
      const { time: _time, level: loggedLevel, event: _event, ...rest } = logged;
      assert.deepEqual([Object.keys(rest), loggedLevel], [names, level], line);
    }
    assert.match(code, /why="no answer to a ping within 1s \(--pong-timeout\)" code=1006/);
    assert.equal(
      server.logged().find(({ event }) => event === 'closed')?.['why'],
      'no answer to a ping within 1s (--pong-timeout)',
    );
  },

  'output head id=2': async (_, code) => {
    const headers = { Host: 'localhost:8080', 'Sec-WebSocket-Extensions': 'permessage-deflate' };
    const hello = Buffer.from('f248cdc9c90700', 'hex');
    await expectTrace(code, { path: '/echo?token=secret', headers }, [
      frame(opcode.text, 'hel', { fin: false }),
      frame(opcode.continuation, 'lo'),
      frame(opcode.text, hello, { rsv: 4 }),
      frame(opcode.text, 'ho', { key: null }),
    ]);
  },

  'output ! rsv2': (_, code) => expectTrace(code, { path: '/faulty?rsv2' }, [frame(opcode.text, 'hello')]),
});

/** Checks that the trace of a connection that sends these frames has the lines of the example, in this order. */
async function expectTrace(code: string, options: ConnectOptions, frames: readonly Buffer[]): Promise<void> {
  const lines: string[] = [];
  const stop = watchLog(
    line =>
      lines.push(
        line
          .replace(/^\S+ /, '')
          .replace(/id=\d+/, 'id=2')
          .trimEnd(),
      ) > 0,
  );
  const server = await listen({ trace: true, faults: true });
  try {
    const client = await connectRaw(server.port, options);
    client.send(...frames);
    await client.end();
    await server.waitFor(({ event }) => event === 'closed');
  } finally {
    await server.close();
    stop();
  }
  let from = 0;
  for (const line of code.trim().split('\n')) {
    const at = lines.indexOf(line, from);
    assert.ok(at >= 0, `${line}\n\n${lines.join('\n')}`);
    from = at + 1;
  }
}
