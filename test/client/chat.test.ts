/** The client's chat, with the project's own server. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { magic, newPacket, PacketCommand, readPacket, writePacket } from '../../src/protocol/tpacket.ts';
import { startServerFor } from '../support/serverProcess.ts';
import { runClient, startClient, startWs } from './clientProcess.ts';

const limit = { timeout: 60_000 };

describe('the chat client', limit, () => {
  test('prints who is in the room, each message, and who has left', async t => {
    const url = `ws://127.0.0.1:${(await startServerFor(t)).port}/`;
    const ada = startClient(t, '--nick', 'ada', '--room', 'pond', url);
    await ada.untilPrinted('* ada is here');
    const bob = startClient(t, '-s', 'tpacket', '--nick', 'bob', '--room', 'pond', url);
    await bob.untilPrinted('* bob is here');
    ada.child.stdin.write('hello\r\n');
    await bob.untilPrinted('ada: hello');
    bob.child.stdin.end('bye\n');
    assert.equal((await bob.result).status, 0);
    await ada.untilPrinted('* bob left');
    ada.child.stdin.end();
    assert.equal((await ada.result).status, 0);
    assert.equal(ada.stdout(), '* ada is here\n* bob is here\nada: hello\nbob: bye\n* bob left\n');
    assert.deepEqual(bob.stdout().split('\n').slice(-3), ['ada: hello', 'bob: bye', '']);
    assert.equal(ada.stderr() + bob.stderr(), '');
  });

  test('-x posts a message, and earlier messages of the room are printed', async t => {
    const url = `ws://127.0.0.1:${(await startServerFor(t)).port}/`;
    assert.equal((await runClient(t, ['--nick', 'ada', '-x', 'earlier', url])).status, 0);
    const { stdout } = await runClient(t, ['--nick', 'bob', url]);
    assert.match(stdout.toString(), /^ada: earlier$/m);
  });

  test('a nick that is taken or invalid ends a script with exit code 5 and the reason', async t => {
    const url = `ws://127.0.0.1:${(await startServerFor(t)).port}/`;
    const ada = startClient(t, '--nick', 'ada', url);
    await ada.untilPrinted('* ada is here');
    const second = await runClient(t, ['--nick', 'ADA', url], 'hello\n');
    assert.deepEqual([second.status, second.stdout.length], [5, 0]);
    assert.match(second.stderr, /^pollywog-client: .*taken.*\n$/);
    const unfit = await runClient(t, ['--nick', 'a: b', url]);
    assert.deepEqual([unfit.status, unfit.stderr.includes('colon')], [5, true]);
    assert.equal((await runClient(t, ['--nick', '', url])).status, 2);
  });

  test('a server without the chat ends the client with exit code 4', async t => {
    const url = await startWs(t, () => {}, { handleProtocols: () => false });
    const { status, stderr } = await runClient(t, ['--nick', 'ada', url]);
    assert.equal(status, 4);
    assert.match(stderr, /does not speak tpacket/);
  });

  test('sends the same packets as the original client, and prints no control characters', async t => {
    const heard: string[] = [];
    const url = await startWs(t, socket => {
      const answer = (cmd: number, uid: number, p1: number, text: string) => {
        const bytes = Buffer.alloc(24 + Buffer.byteLength(text));
        writePacket(bytes, 0, cmd, uid, p1, 0, Buffer.from(text));
        return bytes;
      };
      socket.on('message', data => {
        const packet = newPacket();
        const bytes = data as Buffer;
        assert.equal(readPacket(packet, bytes, 0, bytes.length), bytes.length);
        heard.push(`${packet.cmd} ${bytes.subarray(24)}`);
        if (packet.cmd === PacketCommand.SetUserNick)
          socket.send(answer(PacketCommand.RespOk, packet.uid, 0, ''));
        if (packet.cmd !== PacketCommand.SetRoom) return;
        const said = [
          answer(PacketCommand.RespOk, packet.uid, 0, ''),
          answer(PacketCommand.NewUser, -1, 4096, 'e\u001bve\nada: I am'),
          answer(PacketCommand.LoggedMsg, -1, 0, 'old: one\ntwo'),
          answer(PacketCommand.NewMsg, -1, 4096, 'a\u001b[2J\nbob: forged'),
          answer(PacketCommand.NewMsg, -1, 7, 'who am I'),
          answer(PacketCommand.RespError, 3, -1, 'not\u0007so'),
        ];
        socket.send(Buffer.concat(said));
        socket.send('text');
        socket.close(1000);
      });
    });
    const client = startClient(t, '--nick', 'ada', '--room', 'pond', url);
    const { status } = await client.result;
    assert.deepEqual(heard.slice(0, 3), [`0 ${magic}`, '1 ada', '2 pond']);
    assert.equal(status, 0);
    assert.deepEqual(client.stdout().split('\n'), [
      '* e·ve ada: I am is here',
      'old: one',
      '    two',
      'e·ve ada: I am: a·[2J',
      '    bob: forged',
      'user 7: who am I',
      '',
    ]);
    assert.equal(client.stderr(), '! not·so\n! the server sent a message that is not a packet\n');
  });
});
