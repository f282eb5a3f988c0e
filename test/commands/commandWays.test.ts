/** Every command, sent in every way: the same words get the same answer. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { describe, test } from 'node:test';
import { PacketCommand } from '../../src/protocol/tpacket.ts';
import { type ChatClient, connectMember, hearUntil } from '../support/chatClient.ts';
import {
  type CommandWay,
  commandWays,
  type OpenServer,
  type Outcome,
  openServer,
} from '../support/commandWays.ts';
import { connectTerminal, type LineClient } from '../support/lineClient.ts';
import { connectRaw, type RawClient } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { serverScript } from '../support/serverProcess.ts';

/** A server with four clients: a WebSocket to the echo handler, one to disconnect, and two chat users. */
interface World {
  readonly server: OpenServer;
  readonly echo: RawClient;
  readonly victim: RawClient;
  readonly ada: ChatClient;
  readonly newt: LineClient;
}

/** Ids of connections in a world, in the order they came; 0 and 1 are the listeners. */
const ids = { echo: '2', victim: '3' };

async function newWorld(t: { after(hook: () => Promise<void>): void }): Promise<World> {
  // The only pings are those of the command.
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
  /** Its stdout, or stderr if it fails: numbers as #, runs of blanks as one. */
  readonly says: string | RegExp;
  /** What clients do before the command is answered. */
  readonly meanwhile?: (world: World) => Promise<unknown>;
  /** What clients see of the command. */
  readonly seen?: (world: World) => Promise<unknown>;
  /** Over HTTP, if not `exit`: the path does not exist. */
  readonly exitOverHttp?: number;
}

const text = async ({ echo }: World) => (await echo.nextFrame())?.payload.toString();
/** Sends an unsolicited pong first, which must not count. */
async function answerPing({ echo }: World): Promise<void> {
  const ping = await echo.nextFrame();
  assert.equal(ping?.opcode, opcode.ping);
  echo.send(frame(opcode.pong, 'ping'), frame(opcode.pong, ping.payload));
}

const bytesThatAreNoText = Buffer.from([0, 1, 2, 0xff, 0x0a, 0xc3]);

const cases: readonly Case[] = [
  {
    words: ['list'],
    says: /^id serial wire handler address nick .*# ## websocket echo #\S+ - - .*# ## websocket tpacket #\S+ ada pond .*# ## lines - #\S+ newt lobby /s,
  },
  { words: ['list', '--json'], says: /^\[\{"id":#,"serial":#,"wire":"websocket","handler":"echo",/ },
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
  {
    words: ['send', '@nobody', 'hi'],
    exit: 1,
    says: 'no one has the nick nobody; pollywog list shows who is connected\n',
  },
  {
    words: ['send', '99999', 'hi'],
    exit: 1,
    says: 'there is no connection #; pollywog list shows who is connected\n',
  },
  {
    words: ['send', '1', 'hi'],
    exit: 1,
    says: 'there is no connection #; pollywog list shows who is connected\n',
  },
  {
    words: ['send', 'ada', 'hi'],
    exit: 2,
    says: 'id must be a connection id, such as # or ##, a nick, such as @ada, or a user, such as user:#, not "ada"\n',
  },
  { words: ['publish', 'pond', 'back', 'soon'], says: /^sent: #\nid: \S+\n$/, seen: ({ ada }) => ada.hear() },
  { words: ['publish', 'nowhere', 'hm'], says: /^sent: #\nid: \S+\n$/ },
  { words: ['history', 'pond'], says: /^id time from event text data base64\n\S+ \S+ - - back soon - -\n$/ },
  { words: ['history', 'nowhere', '--json'], says: /^\[\{"id":"\S+","time":"\S+","text":"hm"\}\]\n$/ },
  { words: ['publish', 'bytes'], bytes: bytesThatAreNoText, says: /^sent: #\nid: \S+\n$/ },
  { words: ['history', 'bytes', '--json'], says: /^\[\{"id":"\S+","time":"\S+","base64":"AAEC\/wrD"\}\]\n$/ },
  {
    words: ['publish', 'orders', '{"number":', '17}', '--as', 'json', '--event', 'paid', '--key', 'k'],
    says: /^sent: #\nid: \S+\n$/,
  },
  {
    words: ['publish', '--key=k', '--as=text', 'orders', 'the', 'same', 'key'],
    says: /^sent: #\nid: \S+\n$/,
  },
  {
    words: ['history', 'orders', '1', '--json'],
    says: /^\[\{"id":"\S+","time":"\S+","event":"paid","data":\{"number":#\}\}\]\n$/,
  },
  { words: ['publish', 'orders', '{', '--as', 'json'], exit: 2, says: 'the message is not valid JSON\n' },
  { words: ['publish', 'orders', 'x', '--event', 'gap'], exit: 2, says: /^an event must not be called gap/ },
  { words: ['publish', 'later', 'x', '--ttl', '8760h'], says: /^sent: #\nid: \S+\n$/ },
  {
    words: ['publish', 'later', 'x', '--ttl', '8761h'],
    exit: 2,
    says: 'a time to live must be a number of seconds, at most #\n',
  },
  { words: ['forget', 'later'], says: 'forgotten: #\n' },
  { words: ['channels'], says: /^name websocket eventsource poll room kept last\npond # # # # # \S+\n/ },
  { words: ['forget', 'orders'], says: 'forgotten: #\n' },
  { words: ['history', 'orders', '--json'], says: '[]\n' },
  { words: ['forget', '--purge', 'bytes'], says: 'forgotten: #\n' },
  {
    words: ['broadcast', 'back', 'in', 'five'],
    says: 'sent: #\n',
    seen: async world => [
      await text(world),
      (await world.victim.nextFrame())?.payload.toString(),
      await world.ada.hear(),
      // The two lines before it.
      (await world.newt.line()) && (await world.newt.line()),
    ],
  },
  { words: ['ping', ids.echo], meanwhile: answerPing, says: /^id: #\nmilliseconds: #\n$/ },
  { words: ['ping', '@newt'], exit: 1, says: 'connection # is not a WebSocket, so it cannot be pinged\n' },
  {
    words: ['fault', ids.echo, 'rsv2', 'times=1'],
    says: 'connections: #\nfaults:\n rsv2 times=#\n',
    seen: text,
  },
  { words: ['fault', ids.echo, 'off'], says: 'connections: #\nfaults: -\n' },
  { words: ['fault', '@ada', 'stal'], exit: 2, says: 'unknown fault "stal"; did you mean stall?\n' },
  {
    words: ['fault', ids.echo, 'silence'],
    exit: 1,
    says: 'silence is a fault of the handshake, but connection # is already open\n',
  },
  { words: ['fault', 'off', '--json'], says: '{"connections":#}\n' },
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
  { words: ['why', '@ada'], exit: 2, says: /^id must be a connection id/ },
  { words: ['trace', ids.echo], says: 'traced:\n#\n' },
  { words: ['trace', 'all'], says: 'traced: all\n' },
  { words: ['trace', 'off'], says: 'traced: -\n' },
  {
    words: ['trace', '77'],
    exit: 1,
    says: 'there is no connection #; pollywog list shows who is connected\n',
  },
  { words: ['record', 'off'], says: 'recorded: -\n' },
  {
    words: ['record', '77'],
    exit: 1,
    says: 'there is no connection #; pollywog list shows who is connected\n',
  },
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

/** Removes what differs each time: numbers, column widths, and the connection of the command itself. */
function settled(said: string): string {
  if (said.startsWith('[')) {
    const rows = (JSON.parse(said) as Record<string, unknown>[]).filter(row => row['wire'] !== 'http');
    return settled(`${JSON.stringify(rows)}\n`.replace('[', ' [')).trimStart();
  }
  return said
    .replace(/pollywog-test-\w+/g, 'folder')
    .replace(/^ *\d+ +#\d+ +http .*\n/gm, '')
    .replace(/\b[a-z\d]{8}-\d+\b/g, '#')
    .replace(/(?<![\w.])-?\d+(?:\.\d+)*(?:ms|s|K|M)?/g, '#')
    .replace(/ +/g, ' ')
    .replace(/^ (?=#|id|\[)/gm, '');
}

async function check(way: CommandWay, world: World, one: Case): Promise<unknown> {
  const { words, bytes, exit = 0, says, meanwhile, seen } = one;
  const [told]: [Outcome, unknown] = await Promise.all([
    way.call(world.server, words, bytes),
    meanwhile?.(world),
  ]);
  const shown = `${words.join(' ')}: ${JSON.stringify(told)}`;
  const wanted = way.name.startsWith('HTTP') ? (one.exitOverHttp ?? exit) : exit;
  if (told.exit !== undefined) assert.equal(told.exit, wanted, shown);
  const isDone = exit === 0;
  assert.equal(isDone ? told.stderr : told.stdout, '', shown);
  const said = settled(isDone ? told.stdout : told.stderr.replace(/^pollywog: /, ''));
  if (typeof says === 'string') assert.equal(said, says, shown);
  else assert.match(said, says, shown);
  return [words.join(' '), says instanceof RegExp ? said.replace(/#\S*/g, '#') : said, await seen?.(world)];
}

describe('every command gives the same result', () => {
  /** What was seen the first way. */
  let first: unknown[] | undefined;
  for (const way of commandWays) {
    test(`when sent through ${way.name}`, async t => {
      const world = await newWorld(t);
      const seen: unknown[] = [];
      for (const one of cases) seen.push(await check(way, world, one));
      first ??= seen;
      assert.deepEqual(seen, first);
      world.ada.send(PacketCommand.NewMsg, 'still here');
      assert.match(await world.ada.hear(), /still here/);
    });
  }

  for (const way of commandWays) {
    for (const [word, says] of [
      ['drain', 'draining: #\n'],
      ['stop', 'stopping: #\n'],
    ] as const) {
      test(`${word} through ${way.name} ends the server, and is answered`, async t => {
        const server = await openServer(t);
        // stdin has no exit code: the output ends with the server.
        if (way.name === 'stdin') server.child.stdin!.write(`${word}\n`);
        else {
          const told = await way.call(server, [word]);
          assert.deepEqual([told.exit, settled(told.stdout), told.stderr], [0, says, '']);
        }
        assert.equal(await server.exited, 0);
        if (way.name === 'stdin') assert.equal(settled(server.stdout()), says);
      });
    }
  }
});

describe('watch', () => {
  test('on the command line runs until SIGINT, and exits with 0', async t => {
    const server = await openServer(t);
    const child = spawn(process.execPath, [serverScript, '--control', server.control, 'watch']);
    const untilSeen = async (event: string) => {
      for await (const line of createInterface(child.stdout)) if (line.includes(event)) return;
      assert.fail(`${event} was not seen`);
    };
    const seen = untilSeen('opened');
    // When it begins is not known, so connections are opened until it sees one.
    const isSeen = seen.then(() => true);
    while (!(await Promise.race([isSeen, connectRaw(server.port).then(client => client.destroy())])));
    child.kill('SIGINT');
    const [exit] = await once(child, 'close');
    assert.equal(exit, 0);
  });

  test('on the command line is not subject to --idle-timeout', async t => {
    const server = await openServer(t, '--idle-timeout', '100ms');
    const child = spawn(process.execPath, [serverScript, '--control', server.control, 'watch', '--json']);
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const first = lines.next().then(() => true);
    while (!(await Promise.race([first, connectRaw(server.port).then(client => client.destroy())])));
    const client = await connectRaw(server.port);
    assert.equal(
      (await client.nextFrame())?.payload.readUInt16BE(),
      1001,
      'a client that came later is closed',
    );
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

  test('over HTTP runs until the client leaves, and ends cleanly with the server', async t => {
    const server = await openServer(t);
    const watched = await fetch(`http://127.0.0.1:${server.port}/api/watch`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${server.token}` },
    });
    (await connectRaw(server.port)).destroy();
    await commandWays[0]!.call(server, ['stop']);
    const lines = (await watched.text()).trim().split('\n');
    const events = lines.map(line => JSON.parse(line).event);
    assert.ok(events.includes('opened') && events.includes('draining'), String(events));
    assert.equal(await server.exited, 0);
  });

  test('is refused in the spool', async t => {
    const server = await openServer(t);
    const told = await commandWays.at(-1)!.call(server, ['watch']);
    assert.match(told.stderr, /^pollywog: watch runs until it is interrupted/);
  });
});

test('a message arrives unchanged, whichever way it was sent', async t => {
  const world = await newWorld(t);
  const said = 'a\tb\n"c" \\ \0 \u{1f438} \u009b';
  for (const way of commandWays) {
    // A shell's words have no NUL.
    const given = way.name === 'the command line' ? said.replace('\0', '') : said;
    await way.call(world.server, ['send', ids.echo, given]);
    assert.equal(await text(world), given, way.name);
    await way.call(world.server, ['send', ids.echo], bytesThatAreNoText);
    assert.deepEqual((await world.echo.nextFrame())?.payload, bytesThatAreNoText, way.name);
  }
});
