/** No process, zombie or descriptor is left behind, whichever side ends first and however. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { pipesPerProgram } from '../../../src/handlers/programs/pipes.ts';
import { pipesPerBatch } from '../../../src/protocol/limits.ts';
import { roundTrip, untilStill } from '../../support/echoProbe.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { openDescriptors } from '../../support/processState.ts';
import { connectRaw, type RawClient } from '../../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../../support/rawFrame.ts';
import { type ServerProcess, serverScript, startServerFor } from '../../support/serverProcess.ts';
import { untilLogged } from '../../support/untilLogged.ts';
import { isAlive, nextShown, processes, quoteWords, untilSo } from './programs.ts';

const sh = (script: string) => quoteWords('sh', '-c', script);
/** Prints its PID and that of a child; neither exits at EOF or SIGTERM. */
const stubborn = `trap '' TERM HUP INT; (exec sleep 1000) & echo $$ $!; wait; sleep 1000`;

async function pidsOf(client: RawClient): Promise<number[]> {
  return (await nextShown(client)).split(' ').map(Number);
}

const childrenOf = (server: ServerProcess) => processes().filter(({ parent }) => parent === server.pid);
const isReaper = (server: ServerProcess, group: number) =>
  childrenOf(server).some(({ pid }) => pid === group);

function told(server: ServerProcess): unknown[] {
  const signals = server.logged().filter(({ event }) => event === 'program signalled');
  return signals.map(({ by }) => by);
}

test('a program that exits when its stdin ends gets no signal', async t => {
  const script = 'cat >/dev/null; echo bye >&2; exit 7';
  const server = await startServerFor(t, '--exec', `x=${sh(script)}`);
  const client = await connectRaw(server.port, { path: '/x' });
  client.send(closeFrame(1000));
  const ended = await server.untilLogged(({ event }) => event === 'program ended');
  assert.equal(ended['with'], 7);
  await server.untilLogged(({ line }) => line === 'bye');
  assert.deepEqual(told(server), []);
  client.destroy();
});

test('after its client has left, a program may write another MiB; beyond that its stdout is closed', async t => {
  const server = await startServerFor(
    t,
    ...['--exec', `little=${sh('cat >/dev/null; head -c 500000 /dev/zero; exit 7')}`],
    ...['--exec', 'much=yes', '--exec-grace', '1h', '--log-level', 'debug'],
  );
  const little = await connectRaw(server.port, { path: '/little' });
  little.send(closeFrame(1000));
  assert.equal((await server.untilLogged(({ event }) => event === 'program ended'))['with'], 7);
  const much = await connectRaw(server.port, { path: '/much' });
  assert.equal(await nextShown(much), 'y');
  much.destroy();
  const ended = await server.untilLogged(
    ({ event, program }) => event === 'program ended' && program === 'much',
  );
  // A reset because of unread input; otherwise it would be SIGPIPE.
  assert.ok(ended['with'] === 1 || ended['with'] === 'SIGPIPE', `${ended['with']}`);
});

for (const [how, end] of [
  ['closes', (client: RawClient) => client.send(closeFrame(1000))],
  ['goes away', (client: RawClient) => client.destroy()],
] as const) {
  test(`SIGTERM and then SIGKILL reach all processes that a program has started when its client ${how}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(t, '--exec', `x=${sh(stubborn)}`, '--exec-grace', '200ms');
    const probe = await connectRaw(server.port, { path: '/echo' });
    // Its answer comes after the first turn, when the pipes for the first programs exist.
    await roundTrip(probe);
    const before = openDescriptors(server.pid);
    const client = await connectRaw(server.port, { path: '/x' });
    const pids = await pidsOf(client);
    assert.equal(pids.length, 2);
    assert.ok(pids.every(isAlive));
    end(client);
    await server.untilLogged(({ by }) => by === 'SIGKILL');
    await untilSo(() => !pids.some(isAlive));
    assert.deepEqual(told(server), ['SIGTERM', 'SIGKILL']);
    client.destroy();
    // The program took three pipes that were made in advance, and the reaper has one.
    await untilSo(() => openDescriptors(server.pid) <= before - 2);
    probe.destroy();
  });
}

for (const sockets of ['auto', 'stream']) {
  for (const [how, megabytes, end] of [
    ['resets the connection', 8, (client: RawClient) => client.socket.resetAndDestroy()],
    ['goes away', 8, (client: RawClient) => client.destroy()],
    ['goes away, and all that it sent is read', 0.3, (client: RawClient) => client.destroy()],
  ] as const) {
    test(`a program that does not read is ended soon when its client ${how} (--sockets ${sockets})`, async t => {
      const server = await startServerFor(
        t,
        ...['--exec', `x=${sh('echo begun; exec sleep 1000')}`, '--exec-grace', '200ms'],
        // Not because of a ping.
        ...['--ping-interval', '0', '--sockets', sockets],
      );
      const probe = await connectRaw(server.port, { path: '/echo' });
      const client = await connectRaw(server.port, { path: '/x' });
      assert.equal(await nextShown(client), 'begun');
      const batch = Buffer.concat(Array.from({ length: 100 }, () => frame(opcode.text, 'x'.repeat(1000))));
      for (let sent = 0; sent < megabytes * 10; sent++) client.send(batch);
      await untilStill(probe, () => client.socket.writableLength);
      end(client);
      assert.equal((await server.untilLogged(({ event }) => event === 'program ended'))['with'], 'SIGTERM');
      await roundTrip(probe);
      probe.destroy();
    });
  }
}

test('a child that survives its program is ended, and does not delay the close of the connection', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const script = '(trap "" HUP; exec sleep 1000) >/dev/null 2>&1 </dev/null & echo $!; exit 0';
  const server = await startServerFor(t, '--exec', `x=${sh(script)}`, '--exec-grace', '200ms');
  const client = await connectRaw(server.port, { path: '/x' });
  const [pid] = await pidsOf(client);
  assert.equal(await nextShown(client), 'close 1000 the program ended');
  await server.untilLogged(({ by }) => by === 'SIGTERM');
  await untilSo(() => !isAlive(pid!));
  assert.deepEqual(told(server), ['SIGTERM']);
  client.destroy();
});

test('a process that has left the group is not ended, and delays nothing by keeping stdout open', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const script = 'setsid sleep 1000 & echo $!; exit 0';
  const server = await startServerFor(t, '--exec', `x=${sh(script)}`, '--exec-grace', '200ms');
  const client = await connectRaw(server.port, { path: '/x' });
  const [pid] = await pidsOf(client);
  assert.equal(await nextShown(client), 'close 1000 the program ended');
  assert.ok(isAlive(pid!));
  process.kill(pid!, 'SIGKILL');
  client.destroy();
});

test('a killed program closes its own connection with 1011', async t => {
  const server = await startServerFor(t, '--exec', `x=${sh('echo $$; exec cat')}`);
  const [client, other] = [
    await connectRaw(server.port, { path: '/x' }),
    await connectRaw(server.port, { path: '/x' }),
  ];
  const [pid] = await pidsOf(client);
  await pidsOf(other);
  process.kill(pid!, 'SIGKILL');
  assert.equal(await nextShown(client), 'close 1011 the program failed');
  await roundTrip(other);
  client.destroy();
  other.destroy();
});

test('SIGTERM to the server ends its programs first, in the usual steps', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const script = 'echo $$; cat >/dev/null; sleep 0.3; echo saved >&2';
  const server = await startServerFor(
    t,
    ...[
      '--exec',
      `x=${sh(script)}`,
      '--exec-shared',
      `y=${sh(script)}`,
      '--exec-shared',
      `z=${sh(stubborn)}`,
    ],
    ...['--exec-grace', '1s'],
  );
  const client = await connectRaw(server.port, { path: '/x' });
  const [pid] = await pidsOf(client);
  const children = childrenOf(server).map(child => child.pid);
  assert.ok(children.includes(pid!) && children.length >= 3, `${children}`);
  server.child.kill('SIGTERM');
  assert.match(await nextShown(client), /^close 1001 /);
  client.send(closeFrame(1001));
  client.socket.end();
  assert.equal(await server.exited, 0);
  assert.deepEqual(children.filter(isAlive), []);
  assert.equal(server.logged().filter(({ line }) => line === 'saved').length, 2);
  assert.deepEqual(told(server), ['SIGTERM', 'SIGKILL'], 'the stubborn one alone');
  client.destroy();
});

for (const signal of ['SIGKILL', 'two signals'] as const) {
  test(`${signal} to the server leaves no process behind, not even one that ignores EOF and SIGTERM`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(
      t,
      ...[
        '--exec',
        `stubborn=${sh(stubborn)}`,
        '--exec',
        'cat=cat',
        '--exec-shared',
        `shared=${sh(stubborn)}`,
      ],
      ...['--exec-grace', '1s'],
    );
    const clients = await Promise.all(
      ['/stubborn', '/cat', '/stubborn'].map(path => connectRaw(server.port, { path })),
    );
    const [first, cat, second] = clients as [RawClient, RawClient, RawClient];
    const pids = [...(await pidsOf(first)), ...(await pidsOf(second))];
    await roundTrip(cat);
    const groups = new Set(childrenOf(server).map(child => child.pid));
    const all = processes().filter(({ group }) => groups.has(group));
    // Three programs with a child each, cat, and the reaper; nobody reports the child of the shared one.
    assert.ok(all.length >= 8 && pids.every(pid => all.some(one => one.pid === pid)), `${all.length}`);
    if (signal === 'SIGKILL') server.child.kill('SIGKILL');
    else {
      server.child.kill('SIGTERM');
      await untilLogged(server, 'draining');
      server.child.kill('SIGINT');
    }
    assert.equal(await server.exited, signal === 'SIGKILL' ? null : 1);
    await untilSo(() => !all.some(({ pid }) => isAlive(pid)));
    for (const client of clients) client.destroy();
  });
}

test('a server that is process 1 frees the places of programs whose orphans are zombies', async t => {
  if (skipUnlessLinux(t, 'PID namespaces')) return;
  const script = '(sleep 0.1; exit 0) >/dev/null 2>&1 </dev/null & echo begun';
  const child = spawn(
    'unshare',
    [
      ...['--user', '--map-root-user', '--pid', '--fork', '--mount-proc', process.execPath, serverScript],
      ...['-p', '0', '--host', '127.0.0.1', '--control', 'none', '--log-format', 'json'],
      ...['--exec', `x=${sh(script)}`, '--exec-max', '1', '--exec-grace', '1h'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    errors += text;
  });
  t.after(async () => {
    // All processes of the namespace end with its first one.
    for (const { pid } of processes().filter(({ parent }) => parent === child.pid))
      process.kill(pid, 'SIGKILL');
    await once(child, 'close');
  });
  const [ready] = (await once(createInterface(child.stdout), 'line')) as [string];
  const { port, pid } = JSON.parse(ready) as { port: number; pid: number };
  assert.equal(pid, 1);
  assert.match(errors, /"event":"no init"/);
  for (let round = 0; round < 3; ) {
    const client = await connectRaw(port, { path: '/x' });
    // 1013 until the place is free again.
    if ((await nextShown(client)) === 'begun') round++;
    client.destroy();
  }
});

test('the reaper exits when all programs have gone, however long their grace period is', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const server = await startServerFor(
    t,
    '--exec',
    `x=${sh('echo $$; cat >/dev/null; sleep 0.5')}`,
    '--exec-grace',
    '1h',
  );
  const client = await connectRaw(server.port, { path: '/x' });
  const [pid] = await pidsOf(client);
  const children = childrenOf(server).map(child => child.pid);
  assert.equal(children.length, 2);
  await server.kill();
  assert.ok(isAlive(pid!));
  await untilSo(() => !children.some(isAlive));
  client.destroy();
});

test('a killed reaper is replaced by one that knows all running programs', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const server = await startServerFor(t, '--exec', `x=${sh(stubborn)}`, '--exec-grace', '1s');
  const first = await connectRaw(server.port, { path: '/x' });
  const pids = await pidsOf(first);
  const reaper = childrenOf(server).find(({ pid }) => !pids.includes(pid));
  assert.ok(reaper !== undefined && isReaper(server, reaper.group));
  process.kill(reaper.pid, 'SIGKILL');
  await untilSo(() => !isAlive(reaper.pid));
  // The next start notices that it is gone.
  await untilSo(() => !childrenOf(server).some(({ pid }) => pid === reaper.pid));
  const second = await connectRaw(server.port, { path: '/x' });
  pids.push(...(await pidsOf(second)));
  server.child.kill('SIGKILL');
  await server.exited;
  await untilSo(() => !pids.some(isAlive));
  first.destroy();
  second.destroy();
});

test('200 programs each keep their order and leave no zombie and no descriptor', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const server = await startServerFor(t, '--exec', 'x=cat', '--exec-max', '200');
  const warming = await connectRaw(server.port, { path: '/x' });
  await roundTrip(warming);
  await warming.end();
  const probe = await connectRaw(server.port, { path: '/echo' });
  await untilSo(() => childrenOf(server).length === 1);
  await roundTrip(probe);
  const before = openDescriptors(server.pid);
  for (let round = 0; round < 2; round++) {
    const clients = await Promise.all(
      Array.from({ length: 200 }, () => connectRaw(server.port, { path: '/x' })),
    );
    await Promise.all(
      clients.map(async (client, number) => {
        for (let i = 0; i < 20; i++) client.send(frame(opcode.text, `${number} ${i}`));
        for (let i = 0; i < 20; i++) assert.equal(await nextShown(client), `${number} ${i}`);
      }),
    );
    assert.equal(childrenOf(server).length, 201, 'and the reaper');
    for (const [number, client] of clients.entries()) {
      if (number % 2 === 0) client.destroy();
      else client.send(closeFrame(1000));
    }
    // This count would include zombies.
    await untilSo(() => childrenOf(server).length === 1);
    for (const client of clients) client.destroy();
    // There may be pipes for the next programs.
    await untilSo(() => openDescriptors(server.pid) <= before + pipesPerProgram * pipesPerBatch);
  }
  await roundTrip(probe);
  assert.deepEqual(
    server.logged().filter(({ level }) => level === 'error'),
    [],
  );
  probe.destroy();
});

test('a client that leaves before its program is started leaves nothing behind', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const server = await startServerFor(t, '--exec', 'x=cat', '--exec-max', '0');
  const clients = await Promise.all(
    Array.from({ length: 100 }, () => connectRaw(server.port, { path: '/x' })),
  );
  for (const client of clients) client.destroy();
  await untilSo(
    () => childrenOf(server).every(({ state }) => state !== 'Z') && childrenOf(server).length <= 1,
  );
  const last = await connectRaw(server.port, { path: '/x' });
  await roundTrip(last);
  last.destroy();
  assert.equal(await server.stop(), 0);
});
