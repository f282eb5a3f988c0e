/** Chromium's WebSocket, on the server's own page and under its content security policy. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { launchBrowser, openPage, type PageClient } from '../support/browser.ts';
import { type ServerProcess, startServer } from '../support/serverProcess.ts';

/** Ends a case that hangs; no measure of speed. Milliseconds. */
const patience = { timeout: 60_000 };

describe('Chromium on the page of the server', () => {
  let browser: Browser;
  let server: ServerProcess;
  let page: Page;

  // May install the browser first: the time for that is the installation's own.
  before(
    async () => {
      browser = await launchBrowser();
      server = await startServer('--log-level', 'debug');
      page = await openPage(browser, server.port);
    },
    { timeout: 15 * 60_000 },
  );
  after(async () => {
    await browser?.close();
    if (server !== undefined) assert.equal(await server.stop(), 0);
  });

  test('the page loads with its title and without violating its policy', patience, async () => {
    const other = await browser.newPage();
    const complaints: string[] = [];
    other.on('console', message => complaints.push(message.text()));
    other.on('pageerror', error => complaints.push(error.message));
    const response = await other.goto(`http://127.0.0.1:${server.port}/`);
    assert.match(response!.headers()['content-security-policy'] ?? '', /default-src 'none'/);
    assert.match(await other.title(), /Pollywog/);
    assert.deepEqual(complaints, []);
    await other.close();
  });

  test('text and binary messages are echoed unchanged', patience, async () => {
    const received = await page.evaluate(async () => {
      const { socket, next } = await dial('/echo');
      socket.send('grüß dich, 😀');
      const text = await next();
      socket.send(new Uint8Array([0, 255, 254, 0]));
      const binary = (await next()) as ArrayBuffer;
      socket.close();
      return [text, [...new Uint8Array(binary)]];
    });
    assert.deepEqual(received, ['grüß dich, 😀', [0, 255, 254, 0]]);
  });

  test('16 MiB of text pass in both directions', patience, async () => {
    const isSame = await page.evaluate(async () => {
      const { socket, next } = await dial('/echo');
      const text = 'ä0123456789abcd'.repeat(2 ** 20);
      socket.send(text);
      const back = await next();
      socket.close();
      return back === text;
    });
    assert.equal(isSame, true);
  });

  // The browser compresses it anyway, so it is larger than 16 MiB on the wire.
  test('16 MiB of random bytes pass in both directions', patience, async () => {
    const isSame = await page.evaluate(async () => {
      const { socket, next } = await dial('/echo');
      const noise = new Uint32Array(2 ** 22);
      for (let at = 0; at < noise.length; at += 16_384) {
        crypto.getRandomValues(noise.subarray(at, at + 16_384));
      }
      socket.send(noise);
      const back = new Uint32Array((await next()) as ArrayBuffer);
      socket.close();
      return back.length === noise.length && noise.every((value, at) => back[at] === value);
    });
    assert.equal(isSame, true);
  });

  const agreements = [
    ['on', 'permessage-deflate; server_no_context_takeover; client_no_context_takeover'],
    ['takeover', 'permessage-deflate'],
    ['off', ''],
  ] as const;
  for (const [mode, agreed] of agreements) {
    test(`with --compress ${mode} the browser is told so, and all sizes come back`, patience, async () => {
      const other = await startServer('--compress', mode);
      const onIt = await openPage(browser, other.port);
      const extensions = await onIt.evaluate(async () => {
        const { socket, next } = await dial('/echo');
        for (const size of [0, 10, 1023, 1024, 5000, 100_000, 1024, 5000, 1_000_000, 100_000]) {
          const sent = '{"name":"Jürgen"},'.repeat(size / 18 + 1).slice(0, size);
          socket.send(sent);
          if ((await next()) !== sent) throw new Error(`${size} characters came back as something else`);
        }
        socket.close();
        return socket.extensions;
      });
      assert.equal(extensions, agreed);
      await onIt.close();
      assert.equal(await other.stop(), 0);
    });
  }

  test('both sides see close codes and reasons', patience, async () => {
    for (const [code, reason] of [
      [1000, 'done'],
      [3001, 'grüße'],
      [4999, ''],
    ] as const) {
      const seen = await page.evaluate(
        async ([ours, why]) => {
          const { socket, closed } = await dial('/echo');
          socket.close(ours, why);
          return closed;
        },
        [code, reason] as const,
      );
      assert.deepEqual(seen, [code, '', true]);
      const told = await server.untilLogged(entry => entry['event'] === 'closed' && entry['code'] === code);
      assert.equal(told['reason'], reason);
    }
  });

  test(
    'a message of more than 16 MiB is closed with 1009, and the page sees the reason',
    patience,
    async () => {
      const seen = await page.evaluate(async () => {
        const { socket, closed } = await dial('/echo');
        socket.send(new Uint8Array(2 ** 24 + 1));
        return closed;
      });
      assert.deepEqual(seen, [1009, 'a message is at most 16777216 bytes here', true]);
    },
  );

  test('the server selects the first subprotocol that it has', patience, async () => {
    const seen = await page.evaluate(async () => {
      const { socket } = await dial('/', ['unknown', 'broadcast', 'echo']);
      socket.close();
      // RFC 6455 leaves this to the client: a browser fails the connection if none of its subprotocols is selected.
      const [code] = await (await dial('/echo', ['unknown'])).closed;
      return [socket.protocol, code];
    });
    assert.deepEqual(seen, ['broadcast', 1006]);
  });

  test('broadcasts reach two pages in the same order', patience, async () => {
    const pages = [page, await openPage(browser, server.port)];
    for (const each of pages) {
      await each.evaluate(async () => {
        Object.assign(globalThis, { room: await dial('/broadcast') });
      });
    }
    await Promise.all(
      pages.map((each, index) =>
        each.evaluate(text => {
          (globalThis as unknown as { room: PageClient }).room.socket.send(text);
        }, `from page ${index}`),
      ),
    );
    const received = await Promise.all(
      pages.map(each =>
        each.evaluate(async () => {
          const { socket, next } = (globalThis as unknown as { room: PageClient }).room;
          const texts = [await next(), await next()] as string[];
          socket.close();
          return texts;
        }),
      ),
    );
    assert.deepEqual(received[0]?.toSorted(), ['from page 0', 'from page 1']);
    assert.deepEqual(received[1], received[0]);
    await pages[1]!.close();
  });

  test('the content security policy blocks requests to other servers', patience, async () => {
    let requests = 0;
    const other = createServer((_, response) => {
      requests++;
      response.setHeader('Access-Control-Allow-Origin', '*').end();
    });
    await new Promise<void>(resolve => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    const violated = await page.evaluate(
      url =>
        new Promise(resolve => {
          document.addEventListener('securitypolicyviolation', event => resolve(event.effectiveDirective));
          fetch(url).then(
            () => resolve('none'),
            () => {},
          );
        }),
      `http://127.0.0.1:${port}/`,
    );
    other.close();
    assert.deepEqual([violated, requests], ['connect-src', 0]);
  });

  test('a page of an origin that --origin does not name is refused with 403', patience, async () => {
    const strict = await startServer('--origin', 'https://example.com');
    const onIt = await openPage(browser, strict.port);
    const [code] = await onIt.evaluate(async () => (await dial('/echo')).closed);
    assert.equal(code, 1006);
    const refusal = await strict.untilLogged(entry => entry['event'] === 'refused');
    assert.equal(refusal['status'], 403);
    await onIt.close();
    assert.equal(await strict.stop(), 0);
  });

  test('SIGTERM closes the page’s connection with 1001, and the server exits with 0', patience, async () => {
    const ending = await startServer();
    const onIt = await openPage(browser, ending.port);
    await onIt.evaluate(async () => {
      Object.assign(globalThis, { last: await dial('/echo') });
    });
    const exitCode = ending.stop();
    const seen = await onIt.evaluate(() => (globalThis as unknown as { last: PageClient }).last.closed);
    assert.deepEqual(seen, [1001, 'the server is going away', true]);
    assert.equal(await exitCode, 0);
    await onIt.close();
  });
});
