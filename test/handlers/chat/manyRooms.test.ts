/** Many rooms with files and few descriptors: rooms, commands and newcomers all get theirs. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import { magicPacket, packetBytes } from '../../support/chatClient.ts';
import { assertServes } from '../../support/echoProbe.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { openPolled, pollMany, post } from '../../support/pollClient.ts';
import { messagesIn } from '../../support/roomFiles.ts';
import { serverScript, startServerWith } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

const limit = 120;
const rooms = 150;

test('more rooms than descriptors keep all messages, and commands still work', {
  timeout: 60_000,
}, async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const folder = temporaryFolder();
  const data = join(folder, 'data');
  const control = join(folder, 'control.sock');
  const options = ['-p', '0', '--host', '127.0.0.1', '--log-format', 'json', '--control', control];
  const server = await startServerWith([...options, '--data', data], { test: t, openFiles: limit });
  const { port } = server;

  const sessions: string[] = [];
  for (let room = 0; room < rooms; room++) {
    // A client over HTTP has no descriptor of its own.
    const session = await openPolled(port, 'tpacket');
    const nick = packetBytes(PacketCommand.SetUserNick, `user${room}`, { uid: 1 });
    const enter = packetBytes(PacketCommand.SetRoom, `room${room}`, { uid: 2 });
    const say = packetBytes(PacketCommand.NewMsg, 'first', { uid: 3 });
    await post(port, session, Buffer.concat([magicPacket, nick, enter, say]));
    sessions.push(session);
  }
  for (const session of sessions)
    await post(port, session, packetBytes(PacketCommand.NewMsg, 'second', { uid: 4 }));
  for (const session of sessions.slice(0, 3)) {
    const { messages } = await pollMany(port, session, 5);
    const commands = messages.map(({ binary = '' }) => Buffer.from(binary, 'base64').readInt32LE(12));
    assert.deepEqual(commands, [
      PacketCommand.RespOk,
      PacketCommand.RespOk,
      PacketCommand.NewUser,
      PacketCommand.NewMsg,
      PacketCommand.NewMsg,
    ]);
  }
  const open = readdirSync(`/proc/${server.pid}/fd`).length;
  assert.ok(open < limit - 32, `${open} descriptors are open`);
  await assertServes(port);
  const words = [serverScript, 'info', '--json', '--control', control];
  assert.match((await promisify(execFile)(process.execPath, words)).stdout, /"connections"/);
  for (let room = 0; room < rooms; room++)
    assert.deepEqual(
      messagesIn(data, `room${room}`).map(({ text }) => text),
      ['first', 'second'],
    );
});
