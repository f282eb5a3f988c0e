import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { closeFrame } from '../../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../../support/serverProcess.ts';
import { connectForFaults } from './faultClient.ts';

let server: ServerProcess;
before(async () => {
  server = await startServer(
    '--faults',
    '--compress',
    'off',
    '--fault',
    'echo: masked drop seed=7 chance=0.3',
  );
});
after(() => server.kill());

/** Runs the same session each time. @returns the server's output after the head of its response */
async function bytesOf(path: string): Promise<string> {
  const client = await connectForFaults(server.port, path);
  for (let at = 0; at < 60; at++) client.say(`message ${at}`);
  client.socket.write(closeFrame(1000));
  await client.ended;
  client.destroy();
  return client.body().toString('latin1');
}

const sets = [
  'masked',
  'chance=0.3&masked&drop',
  'chance=0.2&double&swap&unasked-pong&invalid-utf8',
  'chance=0.05&fault=cut',
  'chance=0.05&half-frame',
];

for (const faults of sets) {
  test(`${faults}: a seed repeats a run byte for byte, and another seed does not`, async () => {
    const [first, second] = [
      await bytesOf(`/faulty?seed=7&${faults}`),
      await bytesOf(`/faulty?seed=7&${faults}`),
    ];
    assert.notEqual(first, '');
    assert.equal(first, second);
    const others = await Promise.all([8, 9, 10].map(seed => bytesOf(`/faulty?seed=${seed}&${faults}`)));
    assert.ok(others.some(one => one !== first));
  });
}

test('a seed repeats a run of --fault while the server serves other clients', async () => {
  const first = await bytesOf('/echo');
  const [second] = await Promise.all([bytesOf('/echo'), bytesOf('/faulty?drop&chance=0.5')]);
  assert.equal(first, second);
});

test('without a seed each connection draws its own', async () => {
  const runs = await Promise.all(Array.from({ length: 5 }, () => bytesOf('/faulty?chance=0.5&drop')));
  assert.equal(new Set(runs).size, 5);
});
