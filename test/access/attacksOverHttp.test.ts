/** The same attacks on tokens, links and rights as requests to a server: it refuses each, and logs the reason. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { attacked, attacks, victimClaims } from '../support/attacks.ts';
import { ask, askStatus } from '../support/pollClient.ts';
import { tryRaw } from '../support/rawClient.ts';
import { startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { pemOf, sitePairs, siteSecret, tokenOf } from '../support/tokens.ts';

test('a server refuses every attack over HTTP, and its log has the reason', { timeout: 120_000 }, async t => {
  const folder = temporaryFolder();
  const keys = [siteSecret, ...Object.values(sitePairs).map(({ publicKey }) => pemOf(publicKey))];
  const files = keys.map((key, at) => {
    writeFileSync(join(folder, `key${at}`), key, { mode: 0o600 });
    return join(folder, `key${at}`);
  });
  const server = await startServerFor(
    t,
    ...files.flatMap(file => ['--auth-key', file]),
    ...attacked.rules.flatMap(rule => ['--allow', rule]),
    ...['--token-cookie', attacked.tokenCookie, '--auth-issuer', attacked.issuer],
    ...['--auth-audience', attacked.audience, '--log-level', 'debug'],
  );
  const { port } = server;
  const victim = await tryRaw(port, { path: `/channels/user-17?token=${tokenOf(victimClaims(Date.now()))}` });
  assert.equal(victim.status, 101);
  victim.destroy();

  const probe = '/favicon.ico';
  const wrong: string[] = [];
  for (const { name, url, headers, reason } of attacks(Date.now(), 600)) {
    const seen = server.logged().length;
    const status = await askStatus(port, url, { ...headers, Accept: 'text/event-stream' });
    const isRefused = ({ event, path }: Record<string, unknown>) => event === 'refused' && path !== probe;
    // The log may lag behind answers.
    while (!server.logged().slice(seen).some(isRefused)) await ask(port, 'GET', probe);
    const refused = server.logged().slice(seen).find(isRefused)!;
    const word = status === 401 ? 'identify' : 'forbid';
    const shown = String(refused['reason']);
    const isKnown = [shown, `${word} ${refused['rule']}`].some(one => reason.test(one));
    // A few paths are refused earlier, because they lead to no channel.
    const isNoChannel = [400, 404].includes(status) && /a channel name .*must not|^no such page$/.test(shown);
    if (!isNoChannel && !([401, 403].includes(status) && isKnown))
      wrong.push(`${name}: ${status} ${JSON.stringify(refused)}, not ${reason}`);
  }
  assert.deepEqual(wrong, []);
});
