import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { WebSocket } from 'ws';
import { connectRaw } from '../support/rawClient.ts';
import {
  exampleCode,
  newWorkshop,
  runLines,
  runProgram,
  runShell,
  testExamples,
  type Workshop,
} from './examples.ts';

const pushed = 'order 1234 is paid';

async function startLive(t: TestContext): Promise<Workshop> {
  const workshop = newWorkshop({ 'handlers/live.mjs': exampleCode('live', 'js export default') });
  await runShell(t, workshop, exampleCode('live', 'sh openssl'));
  return workshop;
}

/** Runs a push while one page follows the topic. */
async function assertPush(t: TestContext, push: (workshop: Workshop) => Promise<string>): Promise<void> {
  const workshop = await startLive(t);
  const page = await connectRaw(workshop.server!.port, { path: '/live?orders' });
  t.after(() => page.destroy());
  assert.equal(await push(workshop), '{"sent":1}\n');
  assert.equal((await page.nextFrame())?.payload.toString(), pushed);
}

testExamples('live', {
  'js export default': async t => {
    const workshop = await startLive(t);
    const stranger = await connectRaw(workshop.server!.port, { path: '/live?no%20topic' });
    t.after(() => stranger.destroy());
    assert.equal((await stranger.nextFrame())?.payload.toString('latin1'), '\x0f\xa0no such topic');
  },

  'sh openssl': async t => {
    const workshop = await startLive(t);
    assert.match(await runLines(workshop, 'pollywog call live orders hello'), /sent.*0/);
  },

  'js function follow': async (t, code) => {
    const workshop = await startLive(t);
    let isOver = false;
    const sockets: WebSocket[] = [];
    const shown = { textContent: '' };
    class PageSocket extends WebSocket {
      constructor(url: string) {
        super(url);
        // Errors of a page's connections do not end its script.
        this.on('error', () => {});
        sockets.push(this);
      }
    }
    // The page waits for seconds, this test does not.
    const soon = (run: (...words: unknown[]) => void, _: number, ...words: unknown[]) =>
      setImmediate(() => isOver || run(...words));
    const location = { protocol: 'http:', host: `127.0.0.1:${workshop.server!.port}` };
    const document = { querySelector: () => shown };
    t.after(() => {
      isOver = true;
      for (const socket of sockets) socket.terminate();
    });
    new Function('WebSocket', 'location', 'document', 'setTimeout', code)(
      PageSocket,
      location,
      document,
      soon,
    );
    const untilShown = async (text: string) => {
      while (shown.textContent !== text) await runLines(workshop, `pollywog call live orders ${text}`);
    };
    await untilShown('one');
    sockets[0]!.terminate();
    await untilShown('two');
    assert.equal(sockets.length, 2);
  },

  'sh curl': (t, code) => assertPush(t, workshop => runShell(t, workshop, code)),

  'php /api/call': (t, code) =>
    assertPush(t, async workshop => {
      const { port } = workshop.server!;
      const here = code
        .replace('localhost:8080', `127.0.0.1:${port}`)
        .replace('/etc/pollywog/token', 'token');
      writeFileSync(join(workshop.folder, 'push.php'), here);
      return runProgram(workshop, ['php', 'push.php']);
    }),
});
