/** The ways to send commands. Each takes a command's words and returns the outcome in the same form. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { commands } from '../../src/commands/commands.ts';
import { type Hooks, type ServerProcess, serverScript, startServerWith } from './serverProcess.ts';
import { temporaryFolder } from './temporaryFolder.ts';

/** The outcome of a command. */
export interface Outcome {
  /** The exit code of the command line: 0 done, 1 failed, 2 usage, 3 no server; undefined for ways without one. */
  readonly exit: number | undefined;
  readonly stdout: string;
  /** Without the server's log. */
  readonly stderr: string;
}

export interface CommandWay {
  readonly name: string;
  /** @param bytes for `--binary` */
  call(server: OpenServer, words: readonly string[], bytes?: Buffer): Promise<Outcome>;
}

/** A server that takes commands in every way. */
export interface OpenServer extends ServerProcess {
  readonly folder: string;
  readonly control: string;
  readonly token: string;
  readonly tokenFile: string;
  /** Everything that the server has written to stdout since it was ready. */
  stdout(): string;
}

export const secret = 'correct-horse.battery~staple_0123456789';

/** Starts a server that is killed when the test ends. @param test undefined if the caller kills it */
export async function openServer(test: Hooks | undefined, ...options: string[]): Promise<OpenServer> {
  const folder = temporaryFolder();
  const control = join(folder, 'control.sock');
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, `${secret}\n`, { mode: 0o600 });
  const places = [
    '--control',
    control,
    '--api-token',
    tokenFile,
    '--stdin',
    '--spool',
    join(folder, 'spool'),
  ];
  const standard = ['-p', '0', '--host', '127.0.0.1', '--log-format', 'json', '--config', 'none', ...places];
  const server = await startServerWith([...standard, ...options], {
    ...(test === undefined ? {} : { test }),
    stdin: 'pipe',
  });
  let said = '';
  server.child.stdout!.on('data', text => {
    said += text;
  });
  return { ...server, folder, control, token: secret, tokenFile, stdout: () => said };
}

/** Runs the program from the command line. */
export async function run(words: readonly string[], stdin: string | Buffer = ''): Promise<Outcome> {
  const child = spawn(process.execPath, [serverScript, ...words], { stdio: ['pipe', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', text => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text;
  });
  // The program need not read its stdin.
  child.stdin.on('error', () => {});
  child.stdin.end(stdin);
  const [exit] = await once(child, 'close');
  return { exit, stdout, stderr };
}

const commandLine: CommandWay = {
  name: 'the command line',
  call({ control, folder }, words, bytes) {
    return run(['--control', control, ...binaryOption(folder, bytes), ...words]);
  },
};

function binaryOption(folder: string, bytes: Buffer | undefined): string[] {
  if (bytes === undefined) return [];
  const path = join(folder, 'bytes');
  writeFileSync(path, bytes);
  return ['--binary', path];
}

/** A word as a quoted string of a command line. */
export const inQuotes = (word: string) =>
  `"${[...word].map(one => (/[\w@ ]/.test(one) ? one : `\\u{${one.codePointAt(0)!.toString(16)}}`)).join('')}"`;

const stdin: CommandWay = {
  name: 'stdin',
  async call(server, words, bytes) {
    const { child, folder } = server;
    const lines = [...binaryOption(folder, bytes), ...words].map(inQuotes).join(' ');
    const from = [server.stdout().length, server.stderr().length] as const;
    // Commands run in order: once these two are answered, the command before them has been answered.
    child.stdin!.write(`${lines}\n{"command": "get", "name": "greeting-delay", "json": true}\nno-command\n`);
    const outMark = '[{"name":"greeting-delay"';
    const errorMark = 'pollywog: unknown command "no-command"';
    const heard = () => [server.stdout().slice(from[0]), server.stderr().slice(from[1])] as const;
    for (;;) {
      const [out, error] = heard();
      if (out.includes(outMark) && error.includes(errorMark)) {
        const sentences = error.slice(0, error.indexOf(errorMark)).split('\n');
        const stderr = sentences.filter(line => line.startsWith('pollywog: ')).join('\n');
        return {
          exit: undefined,
          stdout: out.slice(0, out.indexOf(outMark)),
          stderr: stderr && `${stderr}\n`,
        };
      }
      await Promise.race([once(child.stdout!, 'data'), once(child.stderr!, 'data')]);
    }
  },
};

/** A command's values by the names of its parameters. */
function named(words: readonly string[], bytes: Buffer | undefined): Record<string, string> {
  const parameters = Object.entries(commands.get(words[0]!)?.parameters ?? {});
  const entries: [string, string][] = bytes === undefined ? [] : [['binary', bytes.toString('base64')]];
  const values: string[] = [];
  for (let at = 1; at < words.length; at++) {
    const [, option, value] = /^--(\w+)(?:=(.*))?$/.exec(words[at]!) ?? [];
    const [name = '', parameter] = parameters.find(([one, { isOption }]) => isOption && one === option) ?? [];
    if (parameter === undefined) values.push(words[at]!);
    else if (parameter.kind.placeholder === '') entries.push([name, 'true']);
    else entries.push([name, value ?? words[++at]!]);
  }
  for (const [name, { rest, orBytes, isOption }] of parameters) {
    if (isOption || (bytes !== undefined && orBytes)) continue;
    const value = rest ? values.splice(0).join(' ') : values.shift();
    if (value !== undefined && !(rest && value === '' && words.at(-1) !== '')) entries.push([name, value]);
  }
  return Object.fromEntries([...entries, ...values.map((value, index) => [`more${index}`, value])]);
}

function overHttp(
  name: string,
  type: string,
  encode: (values: Record<string, string>) => string,
): CommandWay {
  return {
    name,
    async call({ port, token }, words, bytes) {
      const plain = words.filter(word => word !== '--json');
      const isJson = plain.length < words.length;
      const response = await fetch(`http://127.0.0.1:${port}/api/${encodeURIComponent(plain[0] ?? '')}`, {
        method: 'POST',
        headers: {
          Authorization: `Bearer ${token}`,
          'Content-Type': type,
          Accept: isJson ? 'application/json' : 'text/plain',
        },
        body: encode(named(plain, bytes)),
      });
      const text = await response.text();
      if (response.status === 200) return { exit: 0, stdout: text, stderr: '' };
      const sentence = isJson ? `${JSON.parse(text).error}\n` : text;
      return { exit: response.status === 400 ? 2 : 1, stdout: '', stderr: `pollywog: ${sentence}` };
    },
  };
}

let spooled = 0;

const spool: CommandWay = {
  name: 'the spool',
  async call({ folder }, words, bytes) {
    const name = `file-${++spooled}`;
    const place = (...path: string[]) => join(folder, 'spool', ...path);
    if (bytes !== undefined) writeFileSync(place('bytes'), bytes);
    const all = bytes === undefined ? words : ['--binary', 'bytes', ...words];
    writeFileSync(place(`${name}.tmp`), `${all.map(inQuotes).join(' ')}\n`);
    renameSync(place(`${name}.tmp`), place(`${name}.cmd`));
    const [done, failed] = [place(`${name}.out`), place('failed', `${name}.out`)];
    while (!existsSync(done) && !existsSync(failed)) await setTimeout(5);
    if (existsSync(done)) return { exit: 0, stdout: readFileSync(done, 'utf8'), stderr: '' };
    const sentence = readFileSync(failed, 'utf8').replace(/^line 1: /, '');
    return { exit: undefined, stdout: '', stderr: `pollywog: ${sentence}` };
  },
};

/**
 * Sends a command through stdin, for tests of other subjects: a process for each command would take a third of a second. The
 * outcome has no exit code; if the command fails, stderr has the reason.
 */
export function askServer(server: OpenServer, ...words: readonly string[]): Promise<Outcome> {
  return stdin.call(server, words);
}

/** All the ways, so that a test of one is a test of all. */
export const commandWays: readonly CommandWay[] = [
  commandLine,
  stdin,
  overHttp('HTTP, as JSON', 'application/json', JSON.stringify),
  overHttp('HTTP, as a form', 'application/x-www-form-urlencoded', values =>
    new URLSearchParams(values).toString(),
  ),
  spool,
];
