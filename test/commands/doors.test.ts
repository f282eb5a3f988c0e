/** For each command, through each door: the same words, the same answer. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { describe, test } from 'node:test';
import { PacketCommand } from '../../src/protocol/tpacket.ts';
import { type ChatClient, connectMember, hearUntil } from '../support/chatClient.ts';
import { type Door, doors, type OpenServer, openServer, type Told } from '../support/doors.ts';
import { connectTerminal, type LineClient } from '../support/lineClient.ts';
import { connectRaw, type RawClient } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { serverScript } from '../support/serverProcess.ts';

/** A server, and who is there: a WebSocket that echoes, one to be sent away, and two in the chat. */
interface World {
  readonly server: OpenServer;
  readonly echo: RawClient;
  readonly victim: RawClient;
  readonly ada: ChatClient;
  readonly newt: LineClient;
}

/** Of the connections in a world, in the order they came; 0 is the listener, 1 that of commands. */
const ids = { echo: '2', victim: '3' };

async function newWorld(t: { after(hook: () => Promise<void>): void }): Promise<World> {
  // Whoever is pinged is so by a command.
  const server = await openServer(t, '--ping-interval', '0');
  const echo = await connectRaw(server.port);
  const victim = await connectRaw(server.port, { path: '/broadcast' });
  const ada = await connectMember(server.port, 'ada', 'pond', { path: '/tpacket' });
  await hearUntil(ada, 'NEW_USER uid=-1 p1=4096 p2=0 "ada"');
  const newt = await connectTerminal(server.port, 'newt');
  t.after(async () => {
    for (const { socket } of [echo, victim, ada, newt]) socket.destroy();
  });
  return { server, echo, victim, ada, newt };
}

interface Case {
  readonly words: readonly string[];
  readonly bytes?: Buffer;
  readonly exit?: number;
  /** What it says on stdout, or on stderr where it failed: numbers as #, blanks as one. */
  readonly says: string | RegExp;
  /** What others do before it is answered. */
  readonly meanwhile?: (world: World) => Promise<unknown>;
  /** What others see of it. */
  readonly seen?: (world: World) => Promise<unknown>;
  /** Over HTTP, where that is not what `exit` says: a path that is not there. */
  readonly exitOverHttp?: number;
}

const text = async ({ echo }: World) => (await echo.nextFrame())?.payload.toString();
/** A pong that nobody asked for is none to this ping. */
async function answerPing({ echo }: World): Promise<void> {
  const ping = await echo.nextFrame();
  assert.equal(ping?.opcode, opcode.ping);
  echo.send(frame(opcode.pong, 'ping'), frame(opcode.pong, ping.payload));
}

const bytesThatAreNoText = Buffer.from([0, 1, 2, 0xff, 0x0a, 0xc3]);

const cases: readonly Case[] = [
  {
    words: ['list'],
    says: /^id wire handler address nick .*# websocket echo #\S+ - - .*# websocket tpacket #\S+ ada pond .*# lines - #\S+ newt lobby /s,
  },
  { words: ['list', '--json'], says: /^\[\{"id":#,"wire":"websocket","handler":"echo",/ },
  { words: ['rooms'], says: 'room users remembered\npond # #\nlobby # #\n' },
  { words: ['presence', 'pond'], says: /^nick uid id address\nada # # #\S+\n$/ },
  { words: ['presence', 'nowhere'], says: 'nick uid id address\n' },
  { words: ['presence', 'nowhere', '--json'], says: '[]\n' },
  {
    words: ['presence'],
    exit: 2,
    says: 'missing parameter room: the name of a chat room; usage: presence ROOM\n',
  },
  { words: ['info'], says: /^version: \S+\npid: #\nnode: \S+\nuptime: \S+\nlisteners:\n ws:\S+\n/ },
  { words: ['send', ids.echo, 'hello', 'there'], says: 'sent: #\n', seen: text },
  { words: ['send', ids.echo, '--json', 'hello'], says: '{"sent":#}\n', seen: text },
  { words: ['send', ids.echo, ''], says: 'sent: #\n', seen: text },
  { words: ['send', ids.echo, 'a\tb\n"c" \\ \u{1f438}'], says: 'sent: #\n', seen: text },
  {
    words: ['send', ids.echo],
    bytes: bytesThatAreNoText,
    says: 'sent: #\n',
    seen: async ({ echo }) => {
      const frame = await echo.nextFrame();
      return [frame?.opcode, frame?.payload.toString('hex')];
    },
  },
  { words: ['send', '@ADA', 'hi'], says: 'sent: #\n', seen: ({ ada }) => ada.hear() },
  { words: ['send', '@newt', 'one\ntwo'], says: 'sent: #\n', seen: ({ newt }) => newt.line() },
  {
    words: ['send', '@ada'],
    bytes: bytesThatAreNoText,
    exit: 1,
    says: 'the chat has text messages only; send a text\n',
  },
  { words: ['send', '@nobody', 'hi'], exit: 1, says: 'no one has the nick nobody\n' },
  { words: ['send', '99999', 'hi'], exit: 1, says: 'there is no connection #\n' },
  { words: ['send', '1', 'hi'], exit: 1, says: 'there is no connection #\n' },
  {
    words: ['send', 'ada', 'hi'],
    exit: 2,
    says: 'id must be the id of a connection such as #, or a nick such as @ada, not "ada"\n',
  },
  { words: ['publish', 'pond', 'back', 'soon'], says: 'sent: #\n', seen: ({ ada }) => ada.hear() },
  { words: ['publish', 'nowhere', 'hm'], says: 'sent: #\n' },
  { words: ['history', 'pond'], says: 'nick text\nserver back soon\n' },
  { words: ['history', 'nowhere', '--json'], says: '[{"nick":"server","text":"hm"}]\n' },
  {
    words: ['publish', 'pond'],
    bytes: bytesThatAreNoText,
    exit: 2,
    says: /^(publish takes no bytes|missing parameter text)/,
  },
  {
    words: ['broadcast', 'back', 'in', 'five'],
    says: 'sent: #\n',
    seen: async world => [
      await text(world),
      (await world.victim.nextFrame())?.payload.toString(),
      await world.ada.hear(),
      // Its two lines of before.
      (await world.newt.line()) && (await world.newt.line()),
    ],
  },
  { words: ['ping', ids.echo], meanwhile: answerPing, says: /^id: #\nmilliseconds: #\n$/ },
  { words: ['ping', '@newt'], exit: 1, says: 'connection # is not a WebSocket, so it cannot be pinged\n' },
  { words: ['disconnect', ids.victim, '999'], exit: 2, says: /^code must be a close code, .* not "#"\n$/ },
  {
    words: ['disconnect', ids.victim, '4001', 'that', 'is', 'enough'],
    says: 'closed: #\n',
    seen: async ({ victim }) => {
      const payload = (await victim.nextFrame())?.payload;
      victim.destroy();
      return [payload?.readUInt16BE(0), payload?.toString('utf8', 2)];
    },
  },
  { words: ['why', '777'], exit: 1, says: /^there is no record of a connection #/ },
  { words: ['why', ids.echo], says: /^id: #\nwhy: it has not ended\n/ },
  { words: ['why', '@ada'], exit: 2, says: /^id must be the id of a connection/ },
  { words: ['trace', ids.echo], says: 'traced:\n#\n' },
  { words: ['trace', 'all'], says: 'traced: all\n' },
  { words: ['trace', 'off'], says: 'traced: -\n' },
  { words: ['trace', '77'], exit: 1, says: 'there is no connection #\n' },
  { words: ['set', 'max-message', '1MB'], says: /^changed:\n max-message #B → #B\nneedsRestart: -\n$/ },
  { words: ['get', 'max-message'], says: 'name value set\nmax-message #B by hand\n' },
  {
    words: ['set', 'max-mesage', '1MB'],
    exit: 2,
    says: /unknown option "max-mesage"; did you mean max-message\?/,
  },
  { words: ['set', 'port', '1'], exit: 2, says: /^port cannot change while the server runs/ },
  { words: ['set', 'max-message', 'big'], exit: 2, says: /^max-message must be a size/ },
  {
    words: ['set', 'log-file', '/nowhere/a.log'],
    exit: 2,
    says: 'cannot log to /nowhere/a.log: there is no such folder; choose another with --log-file\n',
  },
  { words: ['get', 'prot'], exit: 2, says: 'unknown option "prot"; did you mean port?\n' },
  { words: ['reload'], says: /^changed:\n max-message #B \(set by hand\) → #B\nneedsRestart: -\n$/ },
  {
    words: ['brodcast', 'hello'],
    exit: 2,
    exitOverHttp: 1,
    says: 'unknown command "brodcast"; did you mean broadcast?\n',
  },
];

/** What is otherwise each time: numbers, the width of columns, and the connection that the command comes in by. */
function settled(said: string): string {
  if (said.startsWith('[')) {
    const rows = (JSON.parse(said) as Record<string, unknown>[]).filter(row => row['wire'] !== 'http');
    return settled(`${JSON.stringify(rows)}\n`.replace('[', ' [')).trimStart();
  }
  return said
    .replace(/pollywog-test-\w+/g, 'folder')
    .replace(/^ *\d+ +http .*\n/gm, '')
    .replace(/(?<![\w.])-?\d+(?:\.\d+)*(?:ms|s|K|M)?/g, '#')
    .replace(/ +/g, ' ')
    .replace(/^ (?=#|id|\[)/gm, '');
}

async function check(door: Door, world: World, one: Case): Promise<unknown> {
  const { words, bytes, exit = 0, says, meanwhile, seen } = one;
  const [told]: [Told, unknown] = await Promise.all([
    door.call(world.server, words, bytes),
    meanwhile?.(world),
  ]);
  const shown = `${words.join(' ')}: ${JSON.stringify(told)}`;
  const wanted = door.name.startsWith('HTTP') ? (one.exitOverHttp ?? exit) : exit;
  if (told.exit !== undefined) assert.equal(told.exit, wanted, shown);
  const isDone = exit === 0;
  assert.equal(isDone ? told.stderr : told.stdout, '', shown);
  const said = settled(isDone ? told.stdout : told.stderr.replace(/^pollywog: /, ''));
  if (typeof says === 'string') assert.equal(said, says, shown);
  else assert.match(said, says, shown);
  return [words.join(' '), says instanceof RegExp ? said.replace(/#\S*/g, '#') : said, await seen?.(world)];
}

describe('every command, by every door', () => {
  /** What was seen by way of the first door. */
  let first: unknown[] | undefined;
  for (const door of doors) {
    test(door.name, async t => {
      const world = await newWorld(t);
      const seen: unknown[] = [];
      for (const one of cases) seen.push(await check(door, world, one));
      first ??= seen;
      assert.deepEqual(seen, first);
      world.ada.send(PacketCommand.NewMsg, 'still here');
      assert.match(await world.ada.hear(), /still here/);
    });
  }

  for (const door of doors) {
    for (const [word, says] of [
      ['drain', 'draining: #\n'],
      ['stop', 'stopping: #\n'],
    ] as const) {
      test(`${word} by ${door.name}: the server ends, and says so`, async t => {
        const server = await openServer(t);
        // stdin tells no end of its own: the server's output is over with the server.
        if (door.name === 'stdin') server.child.stdin!.write(`${word}\n`);
        else {
          const told = await door.call(server, [word]);
          assert.deepEqual([told.exit, settled(told.stdout), told.stderr], [0, says, '']);
        }
        assert.equal(await server.exited, 0);
        if (door.name === 'stdin') assert.equal(settled(server.stdout()), says);
      });
    }
  }
});

describe('watch goes on until nobody listens any more', () => {
  test('the recall: until it is interrupted, which is no failure', async t => {
    const server = await openServer(t);
    const child = spawn(process.execPath, [serverScript, '--control', server.control, 'watch']);
    const untilSeen = async (event: string) => {
      for await (const line of createInterface(child.stdout)) if (line.includes(event)) return;
      assert.fail(`${event} was not seen`);
    };
    const seen = untilSeen('opened');
    // It listens from some moment on: connections come until it has seen one.
    const isSeen = seen.then(() => true);
    while (!(await Promise.race([isSeen, connectRaw(server.port).then(client => client.destroy())])));
    child.kill('SIGINT');
    const [exit] = await once(child, 'close');
    assert.equal(exit, 0);
  });

  test('the recall is no client that has to say something now and then', async t => {
    const server = await openServer(t, '--idle-timeout', '100ms');
    const child = spawn(process.execPath, [serverScript, '--control', server.control, 'watch', '--json']);
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const first = lines.next().then(() => true);
    while (!(await Promise.race([first, connectRaw(server.port).then(client => client.destroy())])));
    const client = await connectRaw(server.port);
    assert.equal((await client.nextFrame())?.payload.readUInt16BE(), 1001, 'who came later has to go');
    client.destroy();
    let why: string | undefined;
    while (why?.includes('--idle-timeout') !== true) {
      const { value, done } = await lines.next();
      assert.ok(!done, 'it is over');
      why = (JSON.parse(value) as { why?: string }).why;
    }
    child.kill('SIGINT');
    await once(child, 'close');
  });

  test('HTTP: until the client is gone; the server\u2019s end is its end, in good order', async t => {
    const server = await openServer(t);
    const watched = await fetch(`http://127.0.0.1:${server.port}/api/watch`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${server.token}` },
    });
    (await connectRaw(server.port)).destroy();
    await doors[0]!.call(server, ['stop']);
    const lines = (await watched.text()).trim().split('\n');
    const events = lines.map(line => JSON.parse(line).event);
    assert.ok(events.includes('opened') && events.includes('draining'), String(events));
    assert.equal(await server.exited, 0);
  });

  test('the spool refuses it', async t => {
    const server = await openServer(t);
    const told = await doors.at(-1)!.call(server, ['watch']);
    assert.match(told.stderr, /^pollywog: watch runs until it is interrupted/);
  });
});

test('what is said to others is what was given, whichever door it came in by', async t => {
  const world = await newWorld(t);
  const said = 'a\tb\n"c" \\ \0 \u{1f438} \u009b';
  for (const door of doors) {
    // A shell's words have no NUL.
    const given = door.name === 'the recall' ? said.replace('\0', '') : said;
    await door.call(world.server, ['send', ids.echo, given]);
    assert.equal(await text(world), given, door.name);
    await door.call(world.server, ['send', ids.echo], bytesThatAreNoText);
    assert.deepEqual((await world.echo.nextFrame())?.payload, bytesThatAreNoText, door.name);
  }
});
