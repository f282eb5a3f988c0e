/** Python's websockets, Debian's package: what runs is websockets_client.py, beside this file's source. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { findPythonWithWebsockets } from '../support/install.ts';
import { startServer } from '../support/serverProcess.ts';

const script = fileURLToPath(new URL('../../../test/clients/websockets_client.py', import.meta.url));
const run = promisify(execFile);

// May install the package first: the time for that is the installation's own.
describe("Python's websockets against the server", { timeout: 15 * 60_000 }, () => {
  for (const mode of ['off', 'on', 'takeover']) {
    test(`text, binary, fragments, pings, compression and close codes, with --compress ${mode}`, async () => {
      const python = findPythonWithWebsockets();
      const server = await startServer('--compress', mode);
      try {
        const { stdout } = await run(python, [script, `ws://127.0.0.1:${server.port}`, mode], {
          env: { PATH: process.env['PATH'], PYTHONDONTWRITEBYTECODE: '1' },
        });
        assert.deepEqual(stdout.trim().split('\n'), [
          'text',
          'binary',
          'fragments',
          'ping',
          'compression',
          'burst',
          'subprotocol',
          'broadcast',
          'close_codes',
          'too_big',
        ]);
        assert.equal(await server.stop(), 0);
      } finally {
        await server.kill();
      }
    });
  }
});
