/** The interactive mode, in a terminal made by util-linux's `script`. */
import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, type TestContext, test } from 'node:test';
import type { WebSocket } from 'ws';
import { startServerFor } from '../support/serverProcess.ts';
import { clientScript, startClient, startWs } from './clientProcess.ts';

const limit = { timeout: 60_000 };

interface Typist {
  readonly child: ChildProcessWithoutNullStreams;
  /** All output to the terminal. */
  screen(): string;
  type(keys: string): void;
  /** Waits until this appears after the output of the last call. */
  untilShown(text: string): Promise<void>;
  readonly status: Promise<number | null>;
}

function startTypist(t: TestContext, ...commandLine: string[]): Typist {
  const words = [process.execPath, clientScript, ...commandLine].map(word => `'${word}'`).join(' ');
  // 20 columns, so that a typed line wraps. `script` returns the client's exit code.
  const command = `stty cols 20 rows 24; exec ${words}`;
  const child = spawn('script', ['-qefc', command, '/dev/null'], { env: { ...process.env, TERM: 'xterm' } });
  t.after(() => child.kill('SIGKILL'));
  child.stdin.on('error', () => {});
  let screen = '';
  let seen = 0;
  child.stdout.setEncoding('utf8').on('data', chunk => {
    screen += chunk;
  });
  const status = once(child, 'close').then(([code]) => code as number | null);
  return {
    ...{ child, status },
    screen: () => screen,
    type: keys => void child.stdin.write(keys),
    async untilShown(text) {
      for (let at = -1; at === -1; ) {
        at = screen.indexOf(text, seen);
        if (at !== -1) seen = at + text.length;
        else if (child.stdout.closed) throw new Error(`ended without ${JSON.stringify(text)}: ${screen}`);
        else await Promise.race([once(child.stdout, 'data'), status]);
      }
    },
  };
}

/** The lines on a screen of 20 columns after these bytes; only the sequences that readline and the client use. */
function showScreen(bytes: string): string[] {
  const rows: string[][] = [[]];
  let [row, column] = [0, 0];
  const tokens = bytes.match(/\x1b\[[?0-9;]*[a-zA-Z]|[^\x1b]/gu) ?? [];
  const rowAt = (index: number) => {
    while (rows.length <= index) rows.push([]);
    return rows[index]!;
  };
  for (const token of tokens) {
    const [, digits, letter] = /^\x1b\[([?0-9;]*)([a-zA-Z])$/.exec(token) ?? [];
    const count = Math.max(1, Number.parseInt(digits ?? '1', 10) || 1);
    if (letter === 'A') row = Math.max(0, row - count);
    else if (letter === 'G') column = count - 1;
    else if (letter === 'C') column += count;
    else if (letter === 'D') column = Math.max(0, column - count);
    else if (letter === 'J' || letter === 'K') {
      rowAt(row).length = Math.min(rowAt(row).length, column);
      if (letter === 'J') rows.length = row + 1;
    } else if (token === '\r') column = 0;
    else if (token === '\n') row++;
    else if (letter === undefined) {
      if (column === 20) [row, column] = [row + 1, 0];
      const cells = rowAt(row);
      while (cells.length < column) cells.push(' ');
      cells[column++] = token;
    }
    rowAt(row);
  }
  return rows.map(cells => cells.join('').trimEnd());
}

describe('at a terminal', limit, () => {
  test('lines are sent, answers appear above the prompt, and Ctrl-D closes with 1000', async t => {
    const codes: number[] = [];
    const url = await startWs(t, socket => {
      socket.on('message', text => socket.send(`echo of ${text}`));
      socket.on('close', code => codes.push(code));
    });
    const typist = startTypist(t, url);
    await typist.untilShown('Ctrl-D leaves');
    await typist.untilShown('> ');
    typist.type('hello\r');
    await typist.untilShown('echo of hello');
    // The previous line, from readline's history.
    typist.type('\u001b[A\r');
    await typist.untilShown('echo of hello');
    typist.type('\u0004');
    assert.equal(await typist.status, 0);
    assert.deepEqual(codes, [1000]);
    const lines = showScreen(typist.screen()).filter(line => !/connected|Ctrl-D|^[\w:/.]*; /.test(line));
    assert.deepEqual(lines.slice(-6), ['> hello', 'echo of hello', '> hello', 'echo of hello', '>', '']);
  });

  test('a message does not damage the line being typed, even if it wraps', async t => {
    let server: WebSocket | undefined;
    const said: string[] = [];
    const url = await startWs(t, socket => {
      server = socket;
      socket.on('message', text => {
        said.push(`${text}`);
        socket.send('got it');
      });
    });
    const typist = startTypist(t, url);
    await typist.untilShown('> ');
    const typed = 'abcdefghijklmnopqrstuvwxyz0123456789';
    typist.type(typed);
    await typist.untilShown('789');
    // Twice: the editor remembers its first drawing.
    for (const text of ['above\u001b[2J', 'again']) {
      server?.send(text);
      await typist.untilShown(text.replace('\u001b', '·'));
      await typist.untilShown('789');
    }
    const screen = showScreen(typist.screen());
    const from = screen.indexOf('above·[2J');
    assert.deepEqual(screen.slice(from), ['above·[2J', 'again', `> ${typed.slice(0, 18)}`, typed.slice(18)]);
    assert.equal(screen.filter(line => line.startsWith('> a')).length, 1, 'the typed line is there once');
    typist.type('!\r');
    await typist.untilShown('got it');
    assert.deepEqual(said, [`${typed}!`]);
    typist.type('\u0003');
    assert.equal(await typist.status, 130);
  });

  test('a close by the server ends the client, which shows the code', async t => {
    const url = await startWs(t, socket => socket.on('message', () => socket.close(1008, 'enough')));
    const typist = startTypist(t, url);
    await typist.untilShown('> ');
    typist.type('hello\r');
    await typist.untilShown('closed 1008');
    assert.equal(await typist.status, 5);
  });

  test('a normal close by the server ends the client with 0 and a notice', async t => {
    const url = await startWs(t, socket => socket.on('message', () => socket.close(1001, 'back at noon')));
    const typist = startTypist(t, url);
    await typist.untilShown('> ');
    typist.type('hello\r');
    await typist.untilShown('closed 1001: back at noon');
    assert.equal(await typist.status, 0);
  });

  test('in the chat, another nick may be typed if one is taken, and own messages are not repeated', async t => {
    const url = `ws://127.0.0.1:${(await startServerFor(t)).port}/`;
    const ada = startClient(t, '--nick', 'ada', url);
    await ada.untilPrinted('* ada is here');
    const typist = startTypist(t, '--nick', 'ada', url);
    await typist.untilShown('type another nick');
    typist.type('eve\r');
    await typist.untilShown('* eve is here');
    typist.type('hi all\r');
    await ada.untilPrinted('eve: hi all');
    ada.child.stdin.write('hi eve\n');
    await typist.untilShown('ada: hi eve');
    assert.ok(!typist.screen().includes('eve: hi all'));
    typist.type('\u0004');
    assert.equal(await typist.status, 0);
  });

  test('in the chat, a line with a leading slash is a command, and two slashes send one', async t => {
    const url = `ws://127.0.0.1:${(await startServerFor(t)).port}/`;
    const ada = startClient(t, '--nick', 'ada', url);
    await ada.untilPrinted('* ada is here');
    const typist = startTypist(t, '--nick', 'eve', url);
    await typist.untilShown('* eve is here');
    typist.type('/who\r');
    await typist.untilShown('* 2 in lobby: ada, eve');
    typist.type('/help\r');
    await typist.untilShown('* /quit ');
    typist.type('/me waves\r');
    await typist.untilShown('! unknown command /me; ');
    typist.type('//me waves\r');
    await ada.untilPrinted('eve: /me waves');
    // Piped lines are sent unchanged.
    ada.child.stdin.write('/who\n');
    await typist.untilShown('ada: /who');
    typist.type('/quit\r');
    assert.equal(await typist.status, 0);
    assert.ok(!ada.stdout().includes('eve: /who'));
  });
});
