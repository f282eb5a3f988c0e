import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { connect } from '../../src/client/index.ts';
import { newWorkshop, testExamples } from './examples.ts';
import { linkPackage } from './inProcess.ts';

testExamples('protocol', {
  'js createServer': async (t, code) => {
    const ready = '0, () => console.log(server.address().port)';
    const workshop = newWorkshop({ 'echo.mjs': code.replace('8080', ready) });
    linkPackage(workshop);
    const child = spawn(process.execPath, ['echo.mjs'], {
      cwd: workshop.folder,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => child.kill());
    const [port] = (await once(createInterface(child.stdout), 'line')) as [string];
    const url = `ws://127.0.0.1:${port}/`;
    const client = await connect(url, { compress: 'off' });
    for (const message of ['hello', 'x'.repeat(70_000), Buffer.of(1, 2, 3)]) {
      await client.send(message);
      assert.deepEqual(await client.next(), message);
    }
    await client.ping('now');
    client.sendRaw(Buffer.of(0x83, 0x80, 0, 0, 0, 0));
    assert.equal((await client.closed).code, 1002);
    const another = await connect(url);
    assert.deepEqual(await another.close(4000, 'done'), { code: 4000, reason: '' });
    const { status } = await fetch(url.replace('ws:', 'http:'));
    assert.equal(status, 426);
  },
});
