/** A user's project is type-checked against the types in the package. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { newFolder } from '../../support/modules.ts';

const root = fileURLToPath(new URL('../../../../', import.meta.url));

const configuration = JSON.stringify({
  compilerOptions: {
    target: 'es2022',
    module: 'nodenext',
    strict: true,
    noEmit: true,
    checkJs: true,
    allowJs: true,
    types: ['node'],
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    verbatimModuleSyntax: true,
  },
  include: ['*'],
});

const quiz = `import type { Handler, Wire } from 'pollywog';

interface Player { score: number }
interface Round { question: string; answers: Map<string, number> }

export default {
  names: ['quiz'],
  state: () => ({ question: '1 + 1', answers: new Map() }),
  swap(old) {
    if (!(old instanceof Object && 'question' in old)) return { question: '', answers: new Map() };
  },
  async opened(connection, { state, log }) {
    connection.data = { score: 0 };
    connection.join('all');
    connection.send(state.question);
    log.info('joined', { path: connection.path, agent: connection.headers.get('user-agent') });
  },
  message(connection, message, server) {
    const { score } = connection.data;
    server.state.answers.set(message.text(), score);
    server.publish('all', message, connection);
    connection.send(message.copy().subarray(1));
    if (message.size > 100) connection.close(4000, 'too long');
  },
  closed({ data, id }, code, reason, { connections }) {
    console.log(data.score.toFixed(), id, code + 1, reason.length, connections.size);
  },
  command: (words, { state }) => words.length + state.answers.size,
  tick: ({ members }) => console.log(members('all')),
  tickEvery: 500,
} satisfies Handler<Player, Round>;

export const wire: Wire<string[]> = {
  matches: bytes => (bytes.length < 4 ? undefined : bytes.readUInt32BE() === 42),
  receive(connection, bytes, log) {
    connection.data ??= [];
    connection.data.push(bytes.toString());
    if (connection.isOpen) connection.send('ok');
    log.debug('got');
    return bytes.length;
  },
};
`;

/** @returns the compiler's messages, one a line; empty if there are none */
function check(files: Readonly<Record<string, string>>): string[] {
  const { path } = newFolder({
    ...files,
    'package.json': '{"type":"module"}',
    'tsconfig.json': configuration,
  });
  // As npm installs it: the files of the package, and nothing else.
  const home = join(path, 'node_modules', 'pollywog');
  mkdirSync(join(path, 'node_modules', '@types'), { recursive: true });
  mkdirSync(home);
  for (const part of ['package.json', 'dist'])
    cpSync(join(root, part), join(home, part), { recursive: true });
  for (const part of ['@types/node', 'undici-types'])
    symlinkSync(join(root, 'node_modules', part), join(path, 'node_modules', part));
  const compiler = join(root, 'node_modules/.bin/tsc');
  const { stdout } = spawnSync(compiler, ['-p', path, '--pretty', 'false'], { encoding: 'utf8' });
  return stdout.split('\n').filter(line => line.includes('error'));
}

test('handlers and wires type-check, in TypeScript and in JavaScript with types in comments', () => {
  const script = `/** @type {import('pollywog').Handler<number>} */
    const handler = { message(connection) { connection.data++; connection.send(String(connection.data)); } };
    export default handler;`;
  assert.deepEqual(check({ 'quiz.ts': quiz, 'count.js': script }), []);
});

test('the types reveal mistakes', () => {
  const mistakes = [
    'message(connection) { connection.send(42); }',
    'message(connection, message) { message.text().nope(); }',
    "message() {}, names: 'quiz'",
    'message() {}, closed(connection, code) { code.trim(); }',
    'message() {}, onmessage() {}',
    'opened() {}',
  ];
  const files = mistakes.map((source, at) => [
    `m${at}.ts`,
    `import type { Handler } from 'pollywog';\nexport default { ${source} } satisfies Handler;\n`,
  ]);
  const said = check(Object.fromEntries(files));
  for (const [at, source] of mistakes.entries()) {
    assert.ok(
      said.some(line => line.startsWith(`m${at}.ts`) || line.includes(`/m${at}.ts`)),
      `${source}: ${said.join('\n')}`,
    );
  }
});
