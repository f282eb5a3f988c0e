/** No token, signature or id of a polling session appears in the log, the trace, lists and explanations. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { askServer, openServer } from '../support/commandWays.ts';
import { ask, openPolled, post } from '../support/pollClient.ts';
import { connectRaw, tryRaw } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { linkOf, siteSecret, tokenOf } from '../support/tokens.ts';

test('secrets in URLs and in messages with a token reach no log, no trace and no answer to the operator', async t => {
  const key = join(temporaryFolder(), 'key');
  writeFileSync(key, siteSecret, { mode: 0o600 });
  const server = await openServer(t, '--auth-key', key, '--log-level', 'debug', '--trace');
  const { port } = server;
  const valid = tokenOf({ sub: '17', exp: Date.now() / 1000 + 600 });
  const link = linkOf('/echo', '17', Math.floor(Date.now() / 1000) + 600);
  const sign = /sign=(\w+)/.exec(link)![1]!;

  const client = await connectRaw(port, { path: `/echo?token=${valid}` });
  client.send(frame(opcode.text, `{"token":"${valid}"}`));
  await client.nextFrame();
  client.send(frame(opcode.text, '{"token":"short-secret"}'));
  await client.nextFrame();
  const linked = await connectRaw(port, { path: link });
  const session = await openPolled(port, `echo?token=${valid}`);
  await post(port, session, `{"token":"short-secret"}`);
  await ask(port, 'GET', `${session}?ack=0`);
  const statuses = [
    await ask(port, 'GET', `/nothing?token=${valid}`),
    await ask(port, 'GET', link.replace('/echo', '/nothing')),
    await ask(port, 'PUT', session),
    await ask(port, 'GET', `${session.slice(0, -1)}?token=${valid}`),
    await ask(port, 'POST', `/channels/a?token=${valid}`, { body: 'x' }),
  ].map(({ status }) => status);
  assert.deepEqual(statuses, [404, 404, 405, 404, 401]);
  const refused = await tryRaw(port, { path: `/channels/a?token=${valid}x`, headers: { Origin: 'x' } });
  refused.destroy();

  const shown = [server.stderr()];
  for (const words of [['list'], ['list', '--json'], ['why', '1'], ['why', '2'], ['why', '3'], ['status']]) {
    const { stdout, stderr } = await askServer(server, ...words);
    shown.push(stdout, stderr);
  }
  client.destroy();
  linked.destroy();
  await server.stop();
  shown.push(server.stderr());
  const all = shown.join('\n');
  assert.ok(
    all.includes('"path":"/poll/s/***"') || all.includes('path=/poll/s/***'),
    'the log names the path',
  );
  const id = session.slice('/poll/s/'.length);
  const [, body, signature] = valid.split('.');
  for (const secret of [valid, body!, signature!, sign, id, id.slice(0, -1), 'short-secret'])
    assert.ok(
      !all.includes(secret),
      `${secret} in ${all.slice(Math.max(0, all.indexOf(secret) - 300), all.indexOf(secret) + 80)}`,
    );
});
