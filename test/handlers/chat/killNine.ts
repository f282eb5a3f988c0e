/**
 * Kills the server with SIGKILL during a chat, again and again: node build/test/handlers/chat/killNine.js [--times 100] [--seed N]
 *
 * Everything that any member has received is in the room's files, in the same order, each message once; and the restarted
 * server sends it to a newcomer.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import { binary, type ChatClient, connectMember, hearAll, packetBytes } from '../../support/chatClient.ts';
import { runAsProgram } from '../../support/killProgram.ts';
import { type OriginalModel, watch } from '../../support/originalModel.ts';
import { newRandom, type Random } from '../../support/random.ts';
import { messagesIn } from '../../support/roomFiles.ts';
import { startServer } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

export interface KillReport {
  /** Messages received in all rounds, and messages that were written but not received by anyone. */
  readonly heard: number;
  readonly writtenOnly: number;
}

const members = 6;
const senders = 4;
const history = 100;
const roundsADirectory = 5;

/** @throws AssertionError if a received message is missing, doubled or out of order on disk */
export async function killNine(times: number, seed: number): Promise<KillReport> {
  const parent = temporaryFolder();
  const random = newRandom(seed);
  let heard = 0;
  let written = 0;
  for (let round = 0; round < times; round++) {
    // A new folder from time to time: growing files would take ever longer to check.
    const directory = join(parent, `${Math.floor(round / roundsADirectory)}`);
    const fsync = random.pick(['no', 'everysec', 'always']);
    // Small files, all kept, so that some kills hit a rotation.
    const rotation = ['--history-rotate', '20KB', '--history-keep', '0'];
    const server = await startServer(
      '--data',
      directory,
      '--fsync',
      fsync,
      ...rotation,
      '--log-level',
      'warn',
    );
    try {
      await checkHistory(server.port, directory);
      const clients = await join6(server.port);
      const models = clients.map(watch);
      const killAt = random.below(400);
      let total = 0;
      for (const { socket } of clients) {
        socket.on('data', () => {
          total++;
          if (total >= killAt) server.child.kill('SIGKILL');
        });
      }
      const talking = talk(clients.slice(0, senders), `round ${round}`, random, () => server.child.killed);
      await server.exited;
      await talking;
      await Promise.all(clients.map(({ ended }) => ended));
      written += checkRound(directory, models, `round ${round}`, seed);
      heard += new Set(models.flatMap(({ messages }) => messages)).size;
      for (const { socket } of clients) socket.destroy();
    } finally {
      await server.kill();
    }
  }
  return { heard, writtenOnly: written - heard };
}

/** Half over WebSocket, half over TCP. */
async function join6(port: number): Promise<ChatClient[]> {
  const clients: ChatClient[] = [];
  for (let i = 0; i < members; i++) {
    const wire = i % 2 === 0 ? 'websocket' : 'tcp';
    clients.push(await connectMember(port, `member ${i}`, 'pond', { wire }));
  }
  return clients;
}

/** Everyone sends bursts of messages until the server is gone. */
async function talk(
  clients: ChatClient[],
  round: string,
  random: Random,
  isOver: () => boolean,
): Promise<void> {
  for (let number = 0; !isOver(); ) {
    for (const { name, socket } of clients) {
      const packets: Buffer[] = [];
      for (let i = random.below(5); i > 0; i--) {
        const text = `${round}, ${name}, ${number++} ${'x'.repeat(random.oneIn(10) ? random.below(5000) : 0)}`;
        packets.push(packetBytes(PacketCommand.NewMsg, text));
      }
      const bytes = Buffer.concat(packets);
      if (bytes.length === 0 || !socket.writable) continue;
      socket.write(name.endsWith('0') || name.endsWith('2') ? binary(bytes) : bytes);
    }
    await new Promise(setImmediate);
  }
}

/** @returns how many messages the round has written */
function checkRound(directory: string, models: OriginalModel[], round: string, seed: number): number {
  const all = messagesIn(directory, 'pond');
  const texts = all
    .filter(({ text }) => text.startsWith(`${round},`))
    .map(({ uid, text }) => `${uid}: ${text}`);
  assert.equal(new Set(texts).size, texts.length, `nothing is written twice (seed ${seed}, ${round})`);
  for (const model of models) {
    assert.equal(model.fault(), undefined, `seed ${seed}, ${round}`);
    // All of them were there from the start: what each has received is the beginning of the file.
    assert.deepEqual(model.messages, texts.slice(0, model.messages.length), `seed ${seed}, ${round}`);
  }
  return texts.length;
}

/** A newcomer gets the last messages in the files. */
async function checkHistory(port: number, directory: string): Promise<void> {
  const expected = messagesIn(directory, 'pond')
    .slice(-history)
    .map(({ from, text }) => `LOGGED_MSG uid=-1 p1=0 p2=0 ${JSON.stringify(`${from}: ${text}`)}`);
  const client = await connectMember(port, 'newcomer', 'pond');
  await client.hear();
  assert.deepEqual(await hearAll(client), expected);
  await client.leave();
}

await runAsProgram(import.meta.url, async (times, seed) => {
  const { heard, writtenOnly } = await killNine(times, seed);
  return `all ${heard} received messages are written once, in order, and ${writtenOnly} others`;
});
