/**
 * Runs the examples of the documents as they are printed there. Every block of code has exactly one runner, so none is
 * skipped: a page with examples has a test file of its name, which calls `testExamples`.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Document, manual, readme, root } from '../support/documents.ts';
import { type Hooks, type ServerProcess, serverScript, startServerWith } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

/** Ends an example that hangs; no measure of speed. */
const patience = { timeout: 60_000 };

interface Example {
  /** `output` for a block without one. */
  readonly language: string;
  readonly code: string;
}

function documentOf(page: string): Document {
  const found = page === 'README' ? readme : manual.get(page);
  assert.ok(found !== undefined, `there is no page ${page}`);
  return found;
}

/** @param page a subject of the manual, or `README` */
export function examplesOf(page: string): Example[] {
  // Code that is included from the source has a test of its own (tour.test.ts).
  const blocks = documentOf(page).text.matchAll(/^```(\w*)( [^\n]+)?\n(.*?)^```$/gms);
  const examples = [...blocks].filter(([, , source]) => source === undefined);
  return examples.map(([, language, , code = '']) => ({ language: language || 'output', code }));
}

/** @param mark a language, a space, and a text that only this block in that language has */
function isMarked({ language, code }: Example, mark: string): boolean {
  const [name = ''] = mark.split(' ', 1);
  return language === name && code.includes(mark.slice(name.length + 1));
}

/** The example on this page with this mark. */
export function exampleCode(page: string, mark: string): string {
  const [found, ...more] = examplesOf(page).filter(example => isMarked(example, mark));
  assert.ok(found !== undefined && more.length === 0, `${page} has one example "${mark}"`);
  return found.code;
}

export type Runner = (t: TestContext, code: string) => void | Promise<void>;

/** Registers a test for each example of the page, and one that no example and no runner is left over. */
export function testExamples(page: string, runners: Readonly<Record<string, Runner>>): void {
  test(`${page}: every example is run`, () => {
    for (const example of examplesOf(page)) {
      const marks = Object.keys(runners).filter(mark => isMarked(example, mark));
      assert.equal(marks.length, 1, `runners of this ${example.language}: ${marks}\n${example.code}`);
    }
  });
  for (const [mark, run] of Object.entries(runners)) {
    test(`${page}: the example "${mark}" works`, patience, t => run(t, exampleCode(page, mark)));
  }
}

/** A folder in which examples are run, and the server that they started. */
export interface Workshop {
  readonly folder: string;
  readonly control: string;
  /** The chapters of the course show the log as text. */
  readonly logFormat: 'json' | 'text';
  server: ServerProcess | undefined;
}

/** Makes a folder where `pollywog` and `pollywog-client` are the project's own. */
export function newWorkshop(
  files: Readonly<Record<string, string>> = {},
  logFormat: Workshop['logFormat'] = 'json',
): Workshop {
  const folder = temporaryFolder();
  const program = (name: string, script: string) => writeExecutable(join(folder, 'bin', name), script);
  const client = fileURLToPath(new URL('dist/client.js', root));
  writeFiles(folder, files);
  program('pollywog', `exec "${process.execPath}" "${serverScript}" "$@"`);
  program('pollywog-client', `exec "${process.execPath}" "${client}" "$@"`);
  // What would change this machine is only looked at: whether make knows the target, and we install the unit.
  program('make', `exec /usr/bin/make -n -C "${fileURLToPath(root)}" "$@" >make.out`);
  program(
    'systemctl',
    `for unit; do :; done; test -e "${fileURLToPath(new URL('src/install/', root))}$(basename "$unit" .service | sed 's/^pollywog$/pollywog.service/')"`,
  );
  return { folder, control: join(folder, 'control.sock'), logFormat, server: undefined };
}

function writeExecutable(path: string, script: string): void {
  mkdirFor(path);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

export function writeFiles(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder, name);
    mkdirFor(path);
    writeFileSync(path, text);
    if (text.startsWith('#!')) chmodSync(path, 0o755);
  }
}

function mkdirFor(path: string): void {
  const folder = join(path, '..');
  mkdirSync(folder, { recursive: true });
}

export const startsServer = /^pollywog(?= +-| *$)/;

/**
 * Runs a shell example. A line that starts a server starts the project's own, on a free port of 127.0.0.1; the other lines run
 * in a shell, and use that port in place of 8080.
 * @param replace paths and addresses that are others here
 * @returns what the other lines printed. @throws Error if one fails or prints anything to stderr
 */
export async function runShell(
  t: Hooks,
  workshop: Workshop,
  code: string,
  replace: Readonly<Record<string, string>> = {},
): Promise<string> {
  let text = code.replaceAll('\\\n', ' ');
  for (const [from, to] of Object.entries(replace)) {
    assert.ok(text.includes(from), `the example has ${from}`);
    text = text.replaceAll(from, to);
  }
  let printed = '';
  let lines: string[] = [];
  for (const line of text.split('\n')) {
    if (!startsServer.test(line)) {
      lines.push(line);
      continue;
    }
    printed += await runLines(workshop, lines.join('\n'));
    lines = [];
    await startLine(t, workshop, line);
  }
  return printed + (await runLines(workshop, lines.join('\n')));
}

/** Starts the server of a line on a free port of 127.0.0.1. */
export async function startLine(t: Hooks, workshop: Workshop, line: string): Promise<void> {
  // The words as a shell splits them; the first one is none.
  const printed = await runLines(
    workshop,
    line.replace(startsServer, "printf '%s\\0' ''").replace(/ &$/, ''),
  );
  const words = printed.split('\0').slice(1, -1);
  // The server that was killed starts again on its port.
  const port = workshop.server?.child.signalCode === 'SIGKILL' ? String(workshop.server.port) : '0';
  const free = words.map((word, index) => {
    if (words[index - 1] === '-p') return port;
    return word.replace(/^tcp:\/\/:\d+/, 'tcp://127.0.0.1:0').replace('/run/', `${workshop.folder}/`);
  });
  const unless = (option: string, ...given: string[]) => (words.includes(option) ? [] : given);
  const listens = words.includes('-p') || words.includes('--listen');
  const commandLine = [
    ...free,
    ...(listens ? [] : ['-p', port]),
    ...unless('--host', ...(words.includes('--listen') ? [] : ['--host', '127.0.0.1'])),
    ...unless('--control', '--control', workshop.control),
    ...unless('--config', '--config', 'none'),
    ...unless('--log-format', '--log-format', workshop.logFormat),
  ];
  workshop.server = await startServerWith(commandLine, {
    environment: environmentOf(workshop),
    folder: workshop.folder,
  });
  t.after(() => workshop.server?.kill());
}

export function environmentOf({ folder, control }: Workshop): NodeJS.ProcessEnv {
  const PATH = `${join(folder, 'bin')}${delimiter}${process.env['PATH']}`;
  return { ...process.env, PATH, POLLYWOG_CONTROL: control, NO_PROXY: '*' };
}

/** Runs lines as they are, but for the port. @returns what they printed */
export async function runLines(workshop: Workshop, lines: string): Promise<string> {
  const script = lines.replaceAll('localhost:8080', `127.0.0.1:${workshop.server?.port}`);
  return runProgram(workshop, ['sh', '-e', '-c', script]);
}

/** @returns what it printed. @throws Error if it fails or prints anything to stderr */
export async function runProgram(workshop: Workshop, [program = '', ...words]: string[]): Promise<string> {
  const child = spawn(program, words, {
    cwd: workshop.folder,
    env: environmentOf(workshop),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', text => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text;
  });
  const [exitCode] = await once(child, 'close');
  assert.deepEqual([exitCode, stderr], [0, ''], `${words.join(' ')}\n${stdout}`);
  return stdout;
}

/** Runs a line that never ends by itself until it has printed one line. @returns that line */
export async function firstLine(workshop: Workshop, line: string): Promise<string> {
  const child = spawn('sh', ['-c', `exec ${line}`], {
    cwd: workshop.folder,
    env: environmentOf(workshop),
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let text = '';
  child.stdout.setEncoding('utf8');
  for await (const piece of child.stdout) {
    text += piece;
    if (text.includes('\n')) break;
  }
  child.kill('SIGKILL');
  return text.split('\n', 1)[0]!;
}
