/** The order of the source tree: which folder may import which, and what belongs where. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

/** The folders of src/, from the ground up: a folder imports only from itself and from folders before it. */
const floors = [
  'protocol',
  'log',
  'options',
  'storage',
  'process',
  'conformance',
  'scripts',
  'recordings',
  'explain',
  'client',
  'check',
  'diagnostics',
  'records',
  'core',
  'net',
  'access',
  'handlers',
  'manual',
  'web',
  'wires',
  'commands',
  'testing',
  'install',
];

/** The files and folders at the top of the tree, apart from dotfiles. */
const topLevel = [
  ...['package.json', 'package-lock.json', 'tsconfig.json', 'biome.json', 'Makefile'],
  ...['README.md', 'LICENSE', 'CHANGELOG.md', 'src', 'test'],
];

/** The modules of Node that pure code may import. */
const pureModules = ['node:buffer', 'node:crypto', 'node:zlib'];
const clocksAndDoors =
  /\b(Date|performance|setTimeout|setInterval|setImmediate|process|console|fetch)\b\s*[.(]/;

// Tests run from build/test/.
const root = fileURLToPath(new URL('../../', import.meta.url));
const source = join(root, 'src');

interface SourceFile {
  /** As `core/poll.ts`. */
  readonly name: string;
  readonly text: string;
  /** What it imports, types too; our own files as `core/poll.ts`. */
  readonly imports: readonly string[];
}

function readSources(): SourceFile[] {
  const names = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter(name =>
    name.endsWith('.ts'),
  );
  return names.map(name => {
    const text = readFileSync(join(source, name), 'utf8');
    const statements = text.matchAll(/^(?:import|export)\s(?:[\w*{][^;:='"`]*\sfrom\s)?'([^']+)'/gm);
    const named = (specifier: string) =>
      specifier.startsWith('.') ? relative(source, resolve(source, dirname(name), specifier)) : specifier;
    const imports = [...statements].map(([, specifier = '']) => named(specifier));
    for (const [, specifier = ''] of text.matchAll(/\bimport\('([^']+)'\)/g)) imports.push(named(specifier));
    return { name, text, imports };
  });
}

const sources = readSources();
const folderOf = (name: string) => (name.includes('/') ? name.slice(0, name.indexOf('/')) : '');
const isOurs = (name: string) => name.endsWith('.ts');

function noneOf(offences: readonly string[]): void {
  assert.equal(offences.length, 0, `\n  ${offences.join('\n  ')}`);
}

test('every import of the sources leads to an existing file', () => {
  assert.ok(sources.length > 20);
  const known = new Set(sources.map(({ name }) => name));
  const loop = sources.find(({ name }) => name === 'core/serverLoop.ts');
  assert.ok(loop?.imports.includes('core/poll.ts') && loop.imports.includes('records/records.ts'));
  noneOf(
    sources.flatMap(({ name, imports }) =>
      imports.filter(one => isOurs(one) && !known.has(one)).map(one => `${name} imports ${one}`),
    ),
  );
});

test('every folder imports only from itself and from the folders below it', () => {
  const height = (name: string) => {
    const folder = folderOf(name);
    // The files in src/ itself are on top of all folders.
    return folder === '' ? floors.length : floors.indexOf(folder);
  };
  noneOf(sources.filter(({ name }) => height(name) < 0).map(({ name }) => `${name} lies on no known floor`));
  noneOf(
    sources.flatMap(({ name, imports }) =>
      imports
        .filter(one => isOurs(one) && height(one) > height(name))
        .map(one => `${name} imports ${one}, which is above it`),
    ),
  );
});

test('no file imports itself by way of other files, not even for its types', () => {
  noneOf(importCycles().map(group => `these files import each other: ${group.sort().join(', ')}`));
});

/** Groups of files in which each imports every other, directly or not: Tarjan's strongly connected components. */
function importCycles(): string[][] {
  const importsOf = new Map(sources.map(({ name, imports }) => [name, imports.filter(isOurs)]));
  const groups: string[][] = [];
  const order = new Map<string, number>();
  const open: string[] = [];
  /** @returns the lowest number in `order` that can be reached from this file */
  const visit = (name: string): number => {
    const number = order.size;
    order.set(name, number);
    open.push(name);
    let lowest = number;
    for (const next of importsOf.get(name) ?? []) {
      if (!order.has(next)) lowest = Math.min(lowest, visit(next));
      else if (open.includes(next)) lowest = Math.min(lowest, order.get(next)!);
    }
    if (lowest === number) groups.push(open.splice(open.indexOf(name)));
    return lowest;
  };
  for (const { name } of sources) if (!order.has(name)) visit(name);
  return groups.filter(group => group.length > 1 || importsOf.get(group[0]!)!.includes(group[0]!));
}

test('protocol/, conformance/, scripts/ and explain/ do no I/O and read no clock', () => {
  const pure = ['protocol', 'conformance', 'scripts', 'explain'];
  const files = sources.filter(({ name }) => pure.includes(folderOf(name)));
  assert.ok(files.length > 5);
  noneOf(
    files.flatMap(({ name, imports }) =>
      imports.filter(one => !isOurs(one) && !pureModules.includes(one)).map(one => `${name} imports ${one}`),
    ),
  );
  noneOf(
    files.flatMap(({ name, text }) =>
      withoutComments(text)
        .split('\n')
        .filter(line => clocksAndDoors.test(line))
        .map(line => `${name}: ${line.trim()}`),
    ),
  );
});

function withoutComments(text: string): string {
  return text.replace(/\/\*.*?\*\//gs, '').replace(/(^|\s)\/\/.*$/gm, '');
}

test('nothing but the client imports client/, and client/ imports nothing of the server', () => {
  const isClients = (name: string) => folderOf(name) === 'client' || name === 'client.ts';
  const known = ['client', 'explain', 'conformance', 'recordings', 'options', 'protocol'];
  // Both escape control characters in the same way.
  const isShared = (one: string) => known.includes(folderOf(one)) || one === 'log/printable.ts';
  noneOf(
    sources.flatMap(({ name, imports }) =>
      imports
        .filter(isOurs)
        .filter(one => (isClients(name) ? !isShared(one) : isClients(one)))
        .map(one => `${name} imports ${one}`),
    ),
  );
});

// Node's pipes to programs are sockets, too.
test('only net/, client/, check/, the command line, the pipes to programs and the lock of a folder use sockets', () => {
  const users = sources.filter(({ imports }) =>
    imports.some(one => /^node:(net|tls|dgram|http|https|http2)$/.test(one)),
  );
  assert.ok(users.length > 0);
  const isAllowed = (name: string) =>
    ['net', 'client', 'check'].includes(folderOf(name)) ||
    ['commands/cli.ts', 'commands/inspect.ts', 'handlers/programs/pipes.ts', 'storage/log/lock.ts'].includes(
      name,
    );
  noneOf(users.map(({ name }) => name).filter(name => !isAllowed(name)));
});

test('no file has more than 500 lines', () => {
  const lines = ({ text }: SourceFile) => text.split('\n').length - 1;
  noneOf(sources.filter(file => lines(file) > 540).map(file => `${file.name} has ${lines(file)} lines`));
});

// The pages and the library are programs of their own, which run in browsers, and interface.ts is what the users' modules see.
test('no two files export the same name', () => {
  const isApart = (name: string) =>
    /^web\/(page|inspector|library)\//.test(name) || name === 'handlers/modules/interface.ts';
  const exporters = new Map<string, string[]>();
  for (const { name, text } of sources.filter(file => !isApart(file.name))) {
    const exported = text.matchAll(
      /^export (?:async )?(?:const|let|function\*?|class|interface|type) (\w+)/gm,
    );
    for (const [, one = ''] of exported) exporters.set(one, [...(exporters.get(one) ?? []), name]);
  }
  assert.ok(exporters.size > 500);
  noneOf(
    [...exporters]
      .filter(([, files]) => new Set(files).size > 1)
      .map(([one, files]) => `${one} is exported by ${files.join(' and ')}; give it two names`),
  );
});

test('no file is called utils, helpers or manager', () => {
  const tracked = [...trackedFiles(), ...sources.map(({ name }) => `src/${name}`)];
  noneOf(tracked.filter(path => /(^|\/)[^/]*(utils?|helpers?|manager)[^/]*(?=\/|\.[a-z]+$)/i.test(path)));
});

test('minimist is the only dependency at run time', () => {
  const about = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  assert.deepEqual(Object.keys(about.dependencies), ['minimist']);
  const packages = new Set(
    sources.flatMap(({ imports }) => imports.filter(one => !isOurs(one) && !one.startsWith('node:'))),
  );
  packages.delete('minimist');
  const optional = Object.keys(about.peerDependencies ?? {});
  noneOf(
    [...packages].filter(
      name => !optional.includes(name) || about.peerDependenciesMeta?.[name]?.optional !== true,
    ),
  );
});

test('the top of the tree contains only the known files and folders', () => {
  const names = new Set(trackedFiles().map(path => path.split('/', 1)[0]!));
  noneOf([...names].filter(name => !name.startsWith('.') && !topLevel.includes(name)));
});

/** The files in git; in a copy without git, the files except those that are built. */
function trackedFiles(): string[] {
  if (!existsSync(join(root, '.git'))) {
    return readdirSync(root).filter(name => !['node_modules', 'dist', 'build', 'exercises'].includes(name));
  }
  return execFileSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' }).trim().split('\n');
}
