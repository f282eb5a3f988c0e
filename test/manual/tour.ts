/** Runs a chapter of the course as a learner does: the lines of its examples, in order, in one shell beside one server. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import {
  environmentOf,
  examplesOf,
  newWorkshop,
  startLine,
  startsServer,
  type Workshop,
} from './examples.ts';

/**
 * Registers the test of a chapter. With `SHOW=1`, it prints what the commands print. Its blocks of code are:
 * - `sh`: lines for a shell (bash). A line that begins with `pollywog -` or `pollywog &` starts the server;
 * - without a language, after such a block: what the lines print. `…` stands for any text within a line, and alone on its line for any lines;
 * - `log`: lines that the server has logged by then, in this order, perhaps with others between them;
 * - `c`: the C server's code, which is not run;
 * - `ts FILE#NAME …`: included from the source, see included.ts.
 */
export function testChapter(number: number): void {
  test(`chapter ${number}: its experiment prints what the chapter shows`, { timeout: 120_000 }, async t => {
    const workshop = newWorkshop({}, 'text');
    const shell = startShell(workshop);
    // The group, since an experiment may leave a stopped program behind.
    t.after(() => process.kill(-shell.pid!, 'SIGKILL'));
    let printed: string | undefined;
    for (const { language, code } of examplesOf(`tour-${number}`)) {
      if (language === 'output') {
        assert.ok(printed !== undefined, `output without a command before it:\n${code}`);
        assertPrinted(printed, code);
        printed = undefined;
        continue;
      }
      assert.equal(printed ?? '', '', 'the chapter shows what the commands print');
      if (language === 'log') await untilLogged(workshop, code);
      else if (language === 'sh') printed = await runBlock(t, workshop, shell, number, code);
      else assert.equal(language, 'c');
    }
    assert.equal(printed ?? '', '', 'the chapter shows what the last commands print');
  });
}

/**
 * A shell that keeps its descriptors and variables from block to block. It reads the blocks from a descriptor that no experiment
 * uses, so programs have no input but what the lines give them.
 */
function startShell(workshop: Workshop): ChildProcess {
  const loop = 'exec 99<&3 3<&- 2>&1; while IFS= read -r -d "" -u 99 block; do eval "$block"; done';
  const child = spawn('bash', ['--noprofile', '--norc', '-c', loop], {
    cwd: workshop.folder,
    env: environmentOf(workshop),
    stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
    detached: true,
  });
  child.stdout!.setEncoding('utf8');
  return child;
}

/** @returns what the lines print, with 8080 for the port */
async function runBlock(
  t: TestContext,
  workshop: Workshop,
  shell: ChildProcess,
  number: number,
  code: string,
): Promise<string> {
  // The exercises have a test of their own.
  if (code === `make exercise ${number}\n`) return '';
  let printed = '';
  let lines: string[] = [];
  for (const line of code.replaceAll('\\\n', ' ').trimEnd().split('\n')) {
    if (startsServer.test(line)) {
      printed += await runInShell(workshop, shell, lines.join('\n'));
      lines = [];
      await workshop.server?.kill();
      await startLine(t, workshop, line);
      continue;
    }
    // A learner's shell has a terminal. It stops a program in the background that reads it.
    if (/[^&]&$/.test(line))
      assert.match(line, / <\S+ /, 'a program in the background has its input redirected');
    lines.push(line);
  }
  return printed + (await runInShell(workshop, shell, lines.join('\n')));
}

async function runInShell(workshop: Workshop, shell: ChildProcess, lines: string): Promise<string> {
  if (lines === '') return '';
  const port = String(workshop.server?.port ?? 8080);
  const script = lines.replace(/localhost([:/ ])8080/g, (_, separator) => `127.0.0.1${separator}${port}`);
  const end = '-- end of the block --';
  let text = '';
  const read = (piece: string) => {
    text += piece;
  };
  shell.stdout!.on('data', read);
  (shell.stdio[3] as Writable).write(`${script}\necho '${end}'\0`);
  while (!text.includes(end)) await once(shell.stdout!, 'data');
  shell.stdout!.off('data', read);
  const printed = text.slice(0, text.indexOf(end)).replaceAll(`127.0.0.1:${port}`, 'localhost:8080');
  // For authors: what to write on the page.
  if (process.env['SHOW'] !== undefined) console.log(`${lines}\n${printed}`);
  return printed;
}

/** @param expected lines with `…` */
function patternOf(expected: string): string {
  return expected
    .split('\n')
    .map(line => {
      if (line === '…') return '(?:.*\\n)*?';
      const parts = line.trimEnd().split('…');
      return `${parts.map(part => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('.*?')}[ \\t\\r]*\\n`;
    })
    .join('');
}

function assertPrinted(printed: string, expected: string): void {
  const pattern = new RegExp(`^${patternOf(expected.trimEnd())}$`);
  assert.ok(pattern.test(printed.replace(/\n?$/, '\n')), `printed:\n${printed}\nexpected:\n${expected}`);
}

async function untilLogged({ server }: Workshop, expected: string): Promise<void> {
  assert.ok(server !== undefined, 'a server runs');
  const lines = expected.trimEnd().split('\n');
  const pattern = new RegExp(lines.map(patternOf).join('(?:.*\\n)*?'));
  while (!pattern.test(server.stderr())) {
    assert.ok(!server.child.stderr!.closed, `the server exited without this log:\n${expected}`);
    await once(server.child.stderr!, 'data', { signal: AbortSignal.timeout(30_000) }).catch(() => {
      assert.fail(`logged:\n${server.stderr()}\nexpected:\n${expected}`);
    });
  }
}
