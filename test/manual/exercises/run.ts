/** Prepares a learner's file, compiles it, and checks it. */
import { AssertionError } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build, transformSync } from 'esbuild';
import { root } from '../../support/documents.ts';
import { type ServerProcess, startServerWith } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';
import type { Change, Exercise, Work } from './exercise.ts';

const checkout = fileURLToPath(root);

/** The outcome of a check: `fault` is undefined if the claim is true. */
export interface Outcome {
  readonly claim: string;
  readonly fault: string | undefined;
}

/**
 * The text of the starter or the solution, with its imports as they must be in `folder`.
 * @throws Error if a change does not fit the source any more
 */
export function fileFor(
  number: number,
  exercise: Exercise,
  part: 'starter' | 'solution',
  folder: string,
): string {
  const given = exercise[part];
  const path =
    typeof given === 'string'
      ? join(checkout, 'test/manual/exercises', String(number), given)
      : join(checkout, exercise.replaces ?? '');
  const text = readFileSync(path, 'utf8');
  const changed = typeof given === 'string' ? text : given.reduce(applyChange, text);
  return moveImports(changed, dirname(path), folder);
}

function applyChange(text: string, { find, replace }: Change): string {
  const parts = text.split(find);
  if (parts.length !== 2) throw new Error(`the source contains this ${parts.length - 1} times:\n${find}`);
  return parts.join(replace);
}

/** Writes the relative imports of a text from one folder as they must be in another. */
function moveImports(text: string, from: string, to: string, nameOf = (path: string) => path): string {
  return text.replace(/(\bfrom |\bimport )(['"])(\.[^'"]+)\2/g, (_, word, quote, specifier) => {
    const moved = relative(to, nameOf(resolve(from, specifier)));
    return `${word}${quote}${moved.startsWith('.') ? moved : `./${moved}`}${quote}`;
  });
}

/** How long a check may take, in milliseconds: a learner's server may never answer. */
const patience = 30_000;

/**
 * Compiles the file and runs all checks.
 * @param path the learner's file
 * @param onOutput gets a line that the learner's code printed in a server, and the errors in that server's log
 * @throws Error if it cannot be compiled, with the line
 */
export async function checkFile(
  exercise: Exercise,
  path: string,
  onOutput = (_line: string) => {},
): Promise<Outcome[]> {
  process.setSourceMapsEnabled(true);
  const folder = temporaryFolder();
  const compiled = await compile(path, folder);
  const servers = new Map<string, Promise<ServerProcess>>();
  let script: string | undefined;
  const start = async (options: readonly string[]) => {
    if (exercise.replaces !== undefined) script ??= copyServer(exercise.replaces, path);
    const usual = ['-p', '0', '--host', '127.0.0.1', '--control', 'none', '--config', 'none'];
    const commandLine = [...usual, '--log-format', 'json', ...options];
    // The lines in errors are those of the learner's file, not of the compiled one.
    const environment = { ...process.env, NODE_OPTIONS: '--enable-source-maps' };
    const server = await startServerWith(commandLine, {
      environment,
      ...(script !== undefined && { script }),
    });
    createInterface(server.child.stdout!).on('line', onOutput);
    return server;
  };
  const work: Work = {
    folder,
    load: () => import(compiled),
    async startServer(...options) {
      const key = options.join(' ');
      const running = await servers.get(key);
      if (running !== undefined && running.child.exitCode === null) return running;
      const server = start(options);
      servers.set(key, server);
      return server;
    },
  };
  const outcomes: Outcome[] = [];
  for (const { claim, run } of exercise.checks)
    outcomes.push({ claim, fault: await faultOf(path, async () => run(work)) });
  const errors = new Set<string>();
  // A server that did not start has been reported by the check that needed it.
  for (const server of await Promise.allSettled(servers.values())) {
    if (server.status === 'rejected') continue;
    await server.value.kill();
    for (const error of errorsOf(server.value, path)) errors.add(error);
  }
  for (const error of errors) onOutput(error);
  return outcomes;
}

/** @returns the line of the learner's file that threw the error, such as ` (table.ts, line 34)`, if it did */
function placeOf({ stack = '', cause }: Pick<Error, 'stack' | 'cause'>, path: string): string {
  if (cause instanceof Error) return placeOf(cause, path);
  const [, place] = stack.split(`${path}:`);
  return place === undefined ? '' : ` (${basename(path)}, line ${Number.parseInt(place, 10)})`;
}

/** @returns the errors in the log, with their lines in the learner's file, and the reason why the server ended */
function errorsOf(server: ServerProcess, path: string): string[] {
  const stacks = server
    .logged()
    .flatMap(({ level, stack }) => (level === 'error' && stack ? [String(stack)] : []));
  const errors = stacks.map(stack => `${stack.split('\n', 1)[0]}${placeOf({ stack }, path)}`);
  const ends = [...server.stderr().matchAll(/^pollywog: (.*)/gm)].map(
    ([, why]) => `the server ended: ${why}`,
  );
  return [...errors, ...ends];
}

async function faultOf(path: string, run: () => Promise<void>): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`nothing happened for ${patience / 1000} seconds; does your code wait?`)),
      patience,
    );
  });
  try {
    await Promise.race([run(), tooLate]);
    return undefined;
  } catch (error) {
    // `assert` appends its own comparison to a message.
    const [message] = (error as Error).message.split('\n', 1);
    return error instanceof AssertionError ? message : `${message}${placeOf(error as Error, path)}`;
  } finally {
    clearTimeout(timer);
  }
}

/** @returns the path of the module */
async function compile(path: string, folder: string): Promise<string> {
  const [name = ''] = path.split('/').slice(-1);
  const outfile = join(folder, name.replace(/\.ts$/, '.mjs'));
  await build({
    entryPoints: [path],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'es2023',
    logLevel: 'silent',
    // With it, an error has the line of the learner's file.
    sourcemap: 'inline',
  });
  return outfile;
}

/** Copies dist/ with the learner's file in it. @returns the server's program */
function copyServer(replaces: string, path: string): string {
  const folder = temporaryFolder();
  // `make install` writes and removes dist/man, perhaps at the same time.
  for (const name of readdirSync(join(checkout, 'dist')).filter(name => name !== 'man'))
    cpSync(join(checkout, 'dist', name), join(folder, 'dist', name), { recursive: true });
  for (const name of ['package.json', 'node_modules']) symlinkSync(join(checkout, name), join(folder, name));
  const source = join(checkout, 'src');
  const dist = join(folder, 'dist');
  const target = join(dist, relative('src', replaces));
  const { code } = transformSync(readFileSync(path, 'utf8'), {
    loader: 'ts',
    format: 'esm',
    target: 'es2023',
    sourcemap: 'inline',
    sourcefile: path,
  });
  const inDist = (file: string) => join(dist, relative(source, file)).replace(/\.ts$/, '.js');
  writeFileSync(target.replace(/\.ts$/, '.js'), moveImports(code, dirname(path), dirname(target), inDist));
  return join(dist, 'server.js');
}

/** With it, an editor and `typeFaults` know the types of the server. */
const settings = {
  extends: join(checkout, 'tsconfig.json'),
  compilerOptions: {
    rootDir: '/',
    noEmit: true,
    // The folder is not always within the package.
    verbatimModuleSyntax: false,
    typeRoots: [join(checkout, 'node_modules/@types')],
    noUnusedLocals: false,
    noUnusedParameters: false,
  },
  include: ['.'],
  exclude: [],
};

/** Writes the starter to `folder`, and the compiler's settings to the folder above it. */
export function writeStarter(number: number, exercise: Exercise, folder: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, '../tsconfig.json'), `${JSON.stringify(settings, null, 2)}\n`);
  writeFileSync(join(folder, exercise.file), fileFor(number, exercise, 'starter', folder), { flag: 'wx' });
}

/** @returns what the compiler says about the types in the learner's file, with lines, or an empty text */
export function typeFaults(path: string): string {
  const folder = dirname(dirname(path));
  const tsc = join(checkout, 'node_modules/.bin/tsc');
  const { stdout } = spawnSync(tsc, ['-p', folder, '--pretty', 'false'], { encoding: 'utf8' });
  // It names files relative to the working directory, and lists those of other exercises, too.
  const own = relative(process.cwd(), path);
  return stdout.replace(new RegExp(`^(?!${own.replaceAll('.', '\\.')}|\\s).*\\n`, 'gm'), '');
}
