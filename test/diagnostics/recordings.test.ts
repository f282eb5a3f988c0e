/** A server's recordings: their files, and the contents. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { constants, deflateRawSync } from 'node:zlib';
import { openRecordings, recordConnection, recordEveryone } from '../../src/diagnostics/recordings.ts';
import { tapArrived } from '../../src/diagnostics/tap.ts';
import { echo } from '../../src/handlers/echo.ts';
import { listen } from '../../src/index.ts';
import { decoderMemory } from '../../src/recordings/decoder.ts';
import {
  isRecordingName,
  parseRecording,
  type Recording,
  showEvent,
} from '../../src/recordings/recording.ts';
import { makeCertificate } from '../support/certificates.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';
import { connectRaw, type RawClient } from '../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';
import { runToEnd } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

function recordingsIn(folder: string): Recording[] {
  return readdirSync(folder)
    .sort()
    .map(file => parseRecording(file.replace(/\.jsonl$/, ''), readFileSync(join(folder, file), 'utf8')));
}

/** The events without times, turns, raw bytes and headers. */
function told({ events }: Recording): object[] {
  return events.map(event => {
    const { at, turn, raw, headers, why, ...rest } = JSON.parse(showEvent(event));
    return rest;
  });
}

test('--record writes a private file for each session, with its handshake, its frames and its end', async () => {
  const folder = temporaryFolder();
  const server = await listen({ record: folder });
  const client = await connectRaw(server.port, { path: '/echo' });
  const text = frame(opcode.text, 'hello');
  client.send(text, frame(opcode.ping, 'p'), frame(opcode.binary, Buffer.from([1, 2])));
  client.send(closeFrame(1000, 'bye'));
  await client.end();
  const page = await fetch(`http://127.0.0.1:${server.port}/`);
  await page.text();
  await server.close();
  const [recording, ...others] = recordingsIn(folder);
  assert.equal(others.length, 0, 'a page is not a session');
  assert.ok(recording && isRecordingName(recording.name));
  assert.equal(statSync(join(folder, `${recording.name}.jsonl`)).mode & 0o777, 0o600);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  assert.deepEqual(told(recording), [
    { from: 'client', request: '/echo' },
    { from: 'server', status: 101 },
    { from: 'client', opcode: 'text', text: 'hello' },
    { from: 'server', opcode: 'text', text: 'hello' },
    { from: 'client', opcode: 'ping', text: 'p' },
    { from: 'server', opcode: 'pong', text: 'p' },
    { from: 'client', opcode: 'binary', hex: '0102' },
    { from: 'server', opcode: 'binary', hex: '0102' },
    { from: 'client', opcode: 'close', code: 1000, text: 'bye' },
    { from: 'server', opcode: 'close', code: 1000 },
    { end: 'client' },
  ]);
  const [, , sent] = recording.events;
  assert.ok(sent?.kind === 'frame' && sent.raw?.equals(text), 'the raw bytes are the sent ones');
});

test('a recording has the bytes of a client that breaks the protocol, and the reason of the close', async () => {
  const folder = temporaryFolder();
  const server = await listen({ record: folder });
  const client = await connectRaw(server.port, { path: '/echo' });
  const bad = Buffer.from('f1800102030461', 'hex');
  client.send(Buffer.concat([frame(opcode.text, 'good'), bad]));
  await client.end();
  await server.close();
  const [recording] = recordingsIn(folder);
  assert.deepEqual(told(recording!).slice(2), [
    { from: 'client', opcode: 'text', text: 'good' },
    { from: 'client', bytes: bad.toString('hex') },
    { from: 'server', opcode: 'text', text: 'good' },
    { from: 'server', opcode: 'close', code: 1002, text: 'RSV2 and RSV3 must be 0' },
    { end: 'server' },
  ]);
});

test('a session over TLS is recorded decrypted, and a compressed message inflated', async () => {
  const folder = temporaryFolder();
  const identity = makeCertificate('localhost', { names: ['localhost'] });
  const server = await listen({ record: folder, tlsCert: [identity.cert], tlsKey: [identity.key] });
  const headers = { 'Sec-WebSocket-Extensions': 'permessage-deflate' };
  const client = await connectRaw(server.port, { path: '/echo', headers, tls: {} });
  const text = 'croak '.repeat(1000);
  const deflated = deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
  client.send(frame(opcode.text, deflated, { rsv: 4 }), closeFrame(1000));
  await client.end();
  await server.close();
  const [recording] = recordingsIn(folder);
  assert.deepEqual(told(recording!).slice(0, 4), [
    { from: 'client', request: '/echo' },
    { from: 'server', status: 101 },
    { from: 'client', opcode: 'text', compressed: true, text },
    { from: 'server', opcode: 'text', compressed: true, text },
  ]);
});

test('credentials of URLs, headers and first messages are in no recording, unless --record-credentials keeps them', async () => {
  for (const recordCredentials of [false, true]) {
    const folder = temporaryFolder();
    const server = await listen({ record: folder, recordCredentials });
    const headers = {
      Authorization: 'Bearer hush1',
      Cookie: 'sid=hush2',
      'Sec-WebSocket-Protocol': 'x, token, hush3',
    };
    const client = await connectRaw(server.port, { path: '/echo?token=hush4&room=pond', headers });
    const first = frame(opcode.text, '{"password":"hu', { fin: false });
    client.send(first, frame(opcode.ping, 'p'), frame(opcode.continuation, 'sh5"}'), closeFrame(1000));
    await client.end();
    await server.close();
    const [file = ''] = readdirSync(folder);
    const text = readFileSync(join(folder, file), 'utf8');
    const isHidden = !recordCredentials;
    assert.match(text, /room=pond/);
    for (const secret of [...(isHidden ? ['hu'] : []), 'hush1', 'hush2', 'hush3', 'hush4', 'hush5\\"}'])
      assert.equal(text.includes(secret), !isHidden, secret);
    const digits = Buffer.from('{"password":"hu').toString('hex');
    assert.equal(text.includes(digits), !isHidden, 'the echo of the message');
  }
});

test('recordings end at --record-max, and the sessions continue', async () => {
  const folder = temporaryFolder();
  const server = await listen({ record: folder, recordMax: '20KB' });
  const client = await connectRaw(server.port, { path: '/echo' });
  for (let i = 0; i < 3; i++) {
    client.send(frame(opcode.text, 'x'.repeat(4000)));
    await client.nextFrame();
  }
  const late = await connectRaw(server.port, { path: '/echo' });
  late.send(frame(opcode.text, 'x'.repeat(20_000)));
  assert.equal((await late.nextFrame())?.payload.length, 20_000);
  late.destroy();
  await server.waitFor(({ event, level }) => event === 'recording cut' && level === 'warn');
  for (let i = 0; i < 100; i++) (await connectRaw(server.port, { path: '/echo' })).destroy();
  await client.end();
  await server.close();
  const sizes = readdirSync(folder).map(file => statSync(join(folder, file)).size);
  assert.ok(sizes.reduce((sum, size) => sum + size, 0) < 21_000, `${sizes}`);
  assert.ok(sizes.length < 50, 'in a full folder, a session has no file');
  const [recording] = recordingsIn(folder);
  const last = recording!.events.at(-1);
  assert.match(last?.kind === 'cut' ? last.why : '', /20KB \(--record-max\)/);
});

test('recordings come back when the folder can be written again, and those that have lost a line end', async () => {
  const folder = join(temporaryFolder(), 'recordings');
  const server = await listen({ record: folder });
  const clients: RawClient[] = [];
  /** @returns the id of a new connection that has sent the text */
  const say = async (text: string) => {
    const before = server.connections.map(({ id }) => id);
    const client = await connectRaw(server.port, { path: '/echo' });
    clients.push(client);
    client.send(frame(opcode.text, text));
    await client.nextFrame();
    return server.connections.find(({ id }) => !before.includes(id))!.id;
  };
  const isWritten = (id: number) => server.commands.record(id);
  const first = await say('first');
  await isWritten(first);
  renameSync(folder, `${folder}.away`);
  clients[0]!.send(frame(opcode.text, 'lost'));
  const { reason } = await server.waitFor(({ event }) => event === 'recording cut');
  assert.match(String(reason), /recordings.*: the directory is gone; create it again$/);
  const second = await say('second');
  await assert.rejects(isWritten(second), /the session is not recorded: .* the directory is gone/);
  renameSync(`${folder}.away`, folder);
  await isWritten(await say('third'));
  await server.waitFor(({ event }) => event === 'recordings written again');
  for (const client of clients) {
    client.send(closeFrame(1000));
    await client.end();
  }
  await server.close();
  const texts = recordingsIn(folder).map(one =>
    told(one).flatMap(event => ('text' in event ? event.text : [])),
  );
  assert.deepEqual(texts, [
    ['first', 'first'],
    ['third', 'third'],
  ]);
});

test('a cut recording holds no memory', () => {
  const server = newFakeServer();
  const recordings = openRecordings(server, temporaryFolder());
  recordEveryone(recordings, []);
  const { connection } = openFakeConnection(server, echo);
  recordConnection(recordings, connection);
  const fragment = frame(opcode.text, 'part', { fin: false });
  const half = frame(opcode.continuation, 'x'.repeat(1000)).subarray(0, 500);
  const start = recordings.held;
  for (const bytes of [fragment, half]) tapArrived(connection, bytes, 0, bytes.length);
  assert.ok(recordings.held - start > 500);
  const session = recordings.sessions.get(connection.id)!;
  recordings.files.onFault('the disk is full');
  assert.ok(session.isCut);
  assert.equal(recordings.held, 0);
  assert.equal(decoderMemory(session.decoder) + session.redactor.held + session.unread.length, 0);
});

test('a folder that others may read is refused, with a remedy', () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'a.txt'), '');
  chmodSync(folder, 0o755);
  const { status, stderr } = runToEnd('-p', '0', '--record', folder);
  assert.equal(status, 2);
  assert.match(stderr, /others may read it; chmod 700 /);
});

test('a file in the place of the folder is refused, and the remedy names the option of recordings', () => {
  const file = join(temporaryFolder(), 'file');
  writeFileSync(file, '');
  const { status, stderr } = runToEnd('-p', '0', '--record', file);
  assert.equal(status, 2);
  assert.match(stderr, /a file is in the place of a directory; choose another with --record\n$/);
});

test('the command record begins in the middle of a session, and ends with off', async () => {
  const folder = temporaryFolder();
  const server = await listen({ record: folder });
  await server.commands.record('off');
  const client = await connectRaw(server.port, { path: '/echo' });
  const long = frame(opcode.text, 'y'.repeat(1000));
  client.send(frame(opcode.text, 'before'), long.subarray(0, 500));
  await client.nextFrame();
  const [{ id } = { id: 0 }] = server.connections;
  const { file } = (await server.commands.record(id)) as { file: string };
  assert.ok(existsSync(file));
  client.send(long.subarray(500), frame(opcode.text, 'after'));
  await client.nextFrame();
  await client.nextFrame();
  await server.commands.record('off');
  client.send(frame(opcode.text, 'unseen'));
  await client.nextFrame();
  await server.close();
  const [recording] = recordingsIn(folder);
  assert.deepEqual(told(recording!), [
    { from: 'server', opcode: 'text', text: 'y'.repeat(1000) },
    { from: 'client', opcode: 'text', text: 'after' },
    { from: 'server', opcode: 'text', text: 'after' },
    { cut: 'recording was switched off' },
  ]);
});

test('while all sessions are recorded, each turn reads only one of them', async () => {
  const folder = temporaryFolder();
  const server = await listen({ record: folder });
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => connectRaw(server.port, { path: '/broadcast' })),
  );
  // At once: without recording, one turn would read several.
  for (const [index, client] of clients.entries()) client.send(frame(opcode.text, `from ${index}`));
  for (const client of clients) for (let i = 0; i < 20; i++) await client.nextFrame();
  for (const client of clients) await client.end();
  await server.close();
  const recordings = recordingsIn(folder);
  assert.equal(recordings.length, 20);
  /** The sessions, by the turn that read them. */
  const readers = new Map<number | undefined, string>();
  for (const recording of recordings) {
    const heard = told(recording).filter(event => 'text' in event);
    assert.equal(heard.length, 21);
    for (const { kind, turn, ...event } of recording.events) {
      if (kind !== 'frame' || !('from' in event) || event.from !== 'client') continue;
      assert.equal(readers.get(turn) ?? recording.name, recording.name);
      readers.set(turn, recording.name);
    }
  }
});

test('invalid bytes of a fault or a script are recorded unchanged', async () => {
  const folder = temporaryFolder();
  const script = { broken: '> hex 8305 6c6174' };
  const server = await listen({ record: folder, faults: true, script });
  const faulty = await connectRaw(server.port, { path: '/faulty?after=0&rsv2&seed=1' });
  faulty.send(frame(opcode.text, 'one'), closeFrame(1000));
  await faulty.end();
  const scripted = await connectRaw(server.port, { path: '/script/broken' });
  scripted.send(closeFrame(1000));
  await scripted.end();
  await server.close();
  const bytes = recordingsIn(folder).map(({ events }) =>
    events.flatMap(event =>
      event.kind === 'bytes' && event.from === 'server' ? [event.bytes.toString('hex')] : [],
    ),
  );
  assert.match(bytes[0]!.join(''), /^a1/);
  assert.match(bytes[1]!.join(''), /^83056c6174/);
});
