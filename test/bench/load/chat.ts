/** A chat room, in packets. The load has its own code, so that it does not share the server's mistakes. */
import type { ChatJob, Sample, Target } from '../jobs.ts';
import { loadRounds } from './broadcast.ts';
import { type Connection, dial, dialMany, fail } from './dial.ts';
import { clientFrame, pattern, repeat, serverFrame } from './frames.ts';

const command = { nop: 0, setNick: 1, setRoom: 2, newMsg: 7 } as const;

/** The uid of the first user of a fresh server. */
const speakerUid = 0x1000;
const magic = Buffer.from('magic string :)');
const nickLength = 5;

function packet(cmd: number, uid: number, p1: number, blob: Buffer): Buffer {
  const header = Buffer.alloc(24);
  header.write('Ej8@', 'latin1');
  for (const [at, value] of [uid, 24 + blob.length, cmd, p1, 0].entries())
    header.writeInt32LE(value, 4 + at * 4);
  return Buffer.concat([header, blob]);
}

/** Servers without packets get the bytes that they must deliver. */
export function loadChat(target: Target, job: ChatJob): Promise<Sample> {
  const text = pattern(job.size);
  const delivered = packet(command.newMsg, -1, speakerUid, text);
  const sent = target.packets ? packet(command.newMsg, 1, 0, text) : delivered;
  const open = () => (target.packets ? enterRoom(target, job.members) : dialMany(target, job.members));
  return loadRounds(target, job.inFlight, open, {
    request: repeat(clientFrame(sent), job.inFlight),
    delivery: repeat(serverFrame(delivered), job.inFlight),
  });
}

/** Opens the connections and enters a room with each, the sender first. */
async function enterRoom(target: Target, members: number): Promise<Connection[]> {
  const speaker = await dial(target);
  const all = [speaker, ...(await dialMany(target, members - 1))];
  // Two RESP_OKs, and each user once: in the list of users, or as a newcomer.
  const due = 2 * (2 + 24) + members * (2 + 24 + nickLength);
  const inside = all.map(connection => expectLength(connection, due));
  for (const [at, { socket }] of all.entries()) {
    const nick = Buffer.from(String(at).padStart(nickLength, '0'));
    const opening = [
      packet(command.nop, 0, 0, magic),
      packet(command.setNick, 1, 0, nick),
      packet(command.setRoom, 2, 0, Buffer.from('bench')),
    ];
    socket.write(clientFrame(Buffer.concat(opening)));
    // The sender enters first, so that it gets the first uid.
    if (at === 0) await firstBytes(speaker);
  }
  await Promise.all(inside);
  return all;
}

/** Waits for this many bytes, and fails if more arrive. */
function expectLength(connection: Connection, due: number): Promise<void> {
  return new Promise(resolve => {
    let got = 0;
    connection.receive = length => {
      got += length;
      if (got > due) fail(new Error(`received ${got} bytes on entering the room where ${due} were due`));
      if (got === due) resolve();
    };
  });
}

function firstBytes(connection: Connection): Promise<void> {
  const { receive } = connection;
  return new Promise(resolve => {
    connection.receive = (length, bytes) => {
      connection.receive = receive;
      receive(length, bytes);
      resolve();
    };
  });
}
