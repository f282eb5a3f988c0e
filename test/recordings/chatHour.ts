/**
 * An hour of chat, sped up: people enter rooms, talk and leave. `make replay` records it, and replays it twice: against the same
 * build, which must be equal, and against a build with a bug in the chat, which must differ.
 */
import { execFile } from 'node:child_process';
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PacketCommand } from '../../src/protocol/tpacket.ts';
import { type ChatClient, connectMember, hearAll } from '../support/chatClient.ts';
import { newRandom } from '../support/random.ts';
import { type ServerProcess, startServerWith } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const checkout = fileURLToPath(new URL('../../../', import.meta.url));

/** The bug of the changed build: a file of dist/, and a replacement in it. */
export const plantedChange = {
  file: 'handlers/chat/encoders.js',
  find: 'left: ({ uid, nick }) => packet(PacketCommand.DelUser, unsolicited, uid, nick.text)',
  replace: 'left: ({ uid }) => packet(PacketCommand.DelUser, unsolicited, uid, "")',
};

export interface ChatHour {
  readonly people: number;
  readonly minutes: number;
  readonly seed: number;
}

/** Averages for each person. */
const secondsBetweenPosts = 30;
const secondsOfStay = 900;
/** Actions within this many seconds reach the server together. */
const step = 5;

const rooms = ['pond', 'lake', 'brook'];
const words = ['croak', 'ribbit', 'splash', 'grüß', 'ist', 'der', 'Teich', 'warm', '🐸', 'heute', 'noch'];

/** Lets people chat. @returns how many messages they sent */
export async function chatFor(port: number, { people, minutes, seed }: ChatHour): Promise<number> {
  const random = newRandom(seed);
  const present: ChatClient[] = [];
  let [arrivals, posts] = [0, 0];
  const enter = async () => {
    arrivals++;
    const client = await connectMember(port, `frog${arrivals}`, random.pick(rooms));
    client.onPacket = () => {};
    present.push(client);
  };
  for (let second = 0; second < minutes * 60; second += step) {
    while (present.length < people) await enter();
    for (const client of [...present]) {
      if (random.oneIn(secondsOfStay / step)) {
        present.splice(present.indexOf(client), 1);
        await client.leave();
      } else if (random.oneIn(secondsBetweenPosts / step)) {
        const text = Array.from({ length: 1 + random.below(12) }, () => random.pick(words)).join(' ');
        client.send(PacketCommand.NewMsg, text);
        posts++;
      }
    }
    if (random.oneIn(4)) await settle(present);
  }
  await settle(present);
  for (const client of present) await client.leave();
  return posts;
}

/** Waits until the server has answered all clients. */
async function settle(clients: readonly ChatClient[]): Promise<void> {
  for (const client of clients) {
    client.onPacket = undefined;
    await hearAll(client);
    client.onPacket = () => {};
  }
}

function start(script: string | undefined, ...options: string[]): Promise<ServerProcess> {
  const standard = ['-p', '0', '--host', '127.0.0.1', '--control', 'none', '--log-format', 'json'];
  return startServerWith([...standard, ...options], script === undefined ? {} : { script });
}

/** Records an hour in a folder. */
export async function recordHour(
  hour: ChatHour,
): Promise<{ readonly folder: string; readonly posts: number }> {
  const folder = temporaryFolder();
  const server = await start(undefined, '--record', folder);
  try {
    const posts = await chatFor(server.port, hour);
    await server.stop();
    return { folder, posts };
  } finally {
    await server.kill();
  }
}

export interface ReplayResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Replays the recordings of a folder. @param script the server; by default that of this checkout */
export async function replayAgainst(folder: string, script?: string): Promise<ReplayResult> {
  const server = await start(script);
  try {
    return await replayAt(`ws://127.0.0.1:${server.port}/`, folder);
  } finally {
    await server.kill();
  }
}

function replayAt(url: string, folder: string): Promise<ReplayResult> {
  const commandLine = [join(checkout, 'dist/client.js'), url, '--replay', folder, '--speed', 'max'];
  return new Promise(resolve => {
    const child = execFile(process.execPath, commandLine, (_, stdout, stderr) =>
      resolve({ status: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

/** Copies dist/ with the planted change. @returns the path of its server */
export function plantChange(): string {
  const folder = temporaryFolder();
  cpSync(join(checkout, 'dist'), join(folder, 'dist'), { recursive: true });
  for (const name of ['package.json', 'node_modules']) symlinkSync(join(checkout, name), join(folder, name));
  const { file, find, replace } = plantedChange;
  const path = join(folder, 'dist', file);
  const parts = readFileSync(path, 'utf8').split(find);
  if (parts.length !== 2) throw new Error(`the text to replace occurs ${parts.length - 1} times in ${file}`);
  writeFileSync(path, parts.join(replace));
  return join(folder, 'dist/server.js');
}
