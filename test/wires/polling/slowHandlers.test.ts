/** Slow handlers of polling clients: messages wait in order, and none is lost or duplicated. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { roundTrip, untilStill } from '../../support/echoProbe.ts';
import { newFolder } from '../../support/modules.ts';
import { ask, openPolled, pollMany, pollOnce, post, requestBytes } from '../../support/pollClient.ts';
import { newRandom } from '../../support/random.ts';
import { connectRaw, connectTcp } from '../../support/rawClient.ts';
import { startServerFor } from '../../support/serverProcess.ts';

const patience = { timeout: 60_000 };

/** A module that answers some messages at once and others later, and reports when each begins and ends. */
const slow = `import { existsSync } from 'node:fs';

export default {
  async message(connection, message) {
    const text = message.text();
    connection.data ??= { busy: 0 };
    if (++connection.data.busy > 1) connection.send('two at once');
    connection.send('before ' + text);
    const [word, file] = text.split(' ');
    if (word === 'await') while (!existsSync(file)) await new Promise(go => setTimeout(go, 5));
    else if (text.length % 3 > 0) await new Promise(go => setTimeout(go, text.length % 3));
    connection.data.busy--;
    connection.send('after ' + text);
  },
};`;

/** Distinct texts of up to `longest` characters. */
function textsOf(seed: number, count: number, longest: number): string[] {
  const random = newRandom(seed);
  return Array.from({ length: count }, (_, at) => `${at}:${'x'.repeat(random.below(longest))}`);
}

/** Posts all texts in consecutive requests, one or several in each. */
async function postAll(port: number, session: string, texts: readonly string[], seed: number) {
  const random = newRandom(seed);
  for (let at = 0; at < texts.length; ) {
    const some = texts.slice(at, at + (random.oneIn(2) ? 1 : 1 + random.below(6)));
    const body = some.map(text => `${JSON.stringify({ text })}\n`).join('');
    const headers = { 'Content-Type': 'application/x-ndjson' };
    if (some.length === 1) await post(port, session, some[0]!, at + 1);
    else assert.equal((await ask(port, 'POST', `${session}?seq=${at + 1}`, { headers, body })).status, 200);
    at += some.length;
  }
}

const heardTexts = (polled: { messages: readonly { text?: string }[] }) =>
  polled.messages.map(({ text }) => text);

for (const sockets of ['auto', 'stream']) {
  describe(`slow handlers of polling clients, --sockets ${sockets}`, () => {
    test('get each message only after the promise of the previous one is settled', patience, async t => {
      const folder = newFolder({ 'slow.mjs': slow });
      const { port } = await startServerFor(t, '--handlers', folder.path, '--sockets', sockets);
      await Promise.all(
        [1, 2, 3].map(async seed => {
          const session = await openPolled(port, 'slow');
          const texts = textsOf(seed, 150, seed * 3000);
          const posting = postAll(port, session, texts, seed);
          const heard = await pollMany(port, session, 2 * texts.length);
          await posting;
          assert.deepEqual(
            heardTexts(heard),
            texts.flatMap(text => [`before ${text}`, `after ${text}`]),
          );
        }),
      );
    });

    test('get a message once, however often it is posted while they are busy', patience, async t => {
      const folder = newFolder({ 'slow.mjs': slow });
      const go = join(folder.path, '_go');
      const { port } = await startServerFor(t, '--handlers', folder.path, '--sockets', sockets);
      const probe = await connectRaw(port, { path: '/echo' });
      const session = await openPolled(port, 'slow');
      const texts = [`await ${go}`, ...textsOf(7, 8, 9000)];
      await post(port, session, texts[0]!, 1);
      assert.deepEqual(heardTexts(await pollOnce(port, session, 0)), [`before ${texts[0]}`]);
      // More than is read for a busy handler: at some point a POST waits.
      let answered = 1;
      const posting = (async () => {
        for (const [at, text] of texts.entries()) {
          if (at === 0) continue;
          await post(port, session, text, at + 1);
          answered = at + 1;
        }
      })();
      assert.ok((await untilStill(probe, () => answered)) < texts.length, 'the last ones have to wait');
      assert.equal(existsSync(go), false);
      // Messages that were accepted before are skipped.
      assert.equal((await ask(port, 'POST', `${session}?seq=1`, { body: texts[0]! })).status, 429);
      writeFileSync(go, '');
      const heard = await pollMany(port, session, 2 * texts.length - 1, 1);
      await posting;
      assert.equal(await post(port, session, texts[2]!, 3), texts.length);
      await post(port, session, 'last', texts.length + 1);
      const rest = await pollMany(port, session, 2, 2 * texts.length);
      assert.deepEqual(
        [...heardTexts(heard), ...heardTexts(rest)],
        [...texts, 'last'].flatMap(text => [`before ${text}`, `after ${text}`]).slice(1),
      );
      probe.destroy();
    });

    test(
      'do not get the message of a POST that was abandoned while it waited, until it is sent again',
      patience,
      async t => {
        const folder = newFolder({ 'slow.mjs': slow });
        const go = join(folder.path, '_go');
        const { port } = await startServerFor(t, '--handlers', folder.path, '--sockets', sockets);
        const probe = await connectRaw(port, { path: '/echo' });
        const session = await openPolled(port, 'slow');
        const large = 'x'.repeat(20_000);
        for (const text of [`await ${go}`, large]) await post(port, session, text);
        const waiting = await connectTcp(port);
        waiting.write(requestBytes('POST', `${session}?seq=3`, { body: 'third' }));
        await roundTrip(probe);
        await roundTrip(probe);
        waiting.resetAndDestroy();
        await once(waiting, 'close');
        await roundTrip(probe);
        const again = post(port, session, 'third', 3);
        writeFileSync(go, '');
        assert.equal(await again, 3);
        const heard = heardTexts(await pollMany(port, session, 6));
        assert.deepEqual(heard.slice(2), [
          `before ${large}`,
          `after ${large}`,
          'before third',
          'after third',
        ]);
        await post(port, session, 'fourth', 4);
        assert.equal(heardTexts(await pollMany(port, session, 2, 6))[0], 'before fourth');
        probe.destroy();
      },
    );

    test(
      'that are programs and do not read pause the POSTs, and then get all messages in order',
      patience,
      async t => {
        const folder = newFolder();
        const go = join(folder.path, 'go');
        const command = `sh -c 'while [ ! -e ${go} ]; do sleep 0.05; done; cat'`;
        const { port } = await startServerFor(t, '--exec', `late:line=${command}`, '--sockets', sockets);
        const probe = await connectRaw(port, { path: '/echo' });
        const session = await openPolled(port, 'late');
        const texts = textsOf(11, 200, 20_000);
        let answered = 0;
        const posting = (async () => {
          for (const [at, text] of texts.entries()) {
            await post(port, session, text, at + 1);
            answered = at + 1;
          }
        })();
        const waiting = await untilStill(probe, () => answered);
        assert.ok(waiting < 100, `${waiting} were taken`);
        writeFileSync(go, '');
        assert.deepEqual(heardTexts(await pollMany(port, session, texts.length)), texts);
        await posting;
        probe.destroy();
      },
    );

    test('that are programs send much to slow clients in order', patience, async t => {
      const flood = `/usr/bin/perl -e '$| = 1; print "$_ ", "x" x 99, "\\n" for 1 .. 20000; print while <>'`;
      const { port } = await startServerFor(t, '--exec', `flood:line=${flood}`, '--sockets', sockets);
      const session = await openPolled(port, 'flood');
      const texts = textsOf(13, 100, 2000);
      const posting = postAll(port, session, texts, 13);
      const heard = heardTexts(await pollMany(port, session, 20_000 + texts.length));
      await posting;
      const counted = Array.from({ length: 20_000 }, (_, at) => `${at + 1} ${'x'.repeat(99)}`);
      assert.deepEqual(heard, [...counted, ...texts]);
    });
  });
}
