/** How npm's ws and Python's websockets react to each fault. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { faults } from '../../../src/handlers/faults/table.ts';
import { findPythonWithWebsockets } from '../../support/install.ts';
import { startServer } from '../../support/serverProcess.ts';
import { type Reaction, wsReaction, wsVersion } from './wsReactions.ts';

const script = fileURLToPath(
  new URL('../../../../test/handlers/faults/websockets_reactions.py', import.meta.url),
);

/** Silence in milliseconds after which a session counts as over: it must be longer than a busy machine needs to answer. */
const patience = 1500;

/** Faults with a value that shows them sooner. */
const values: Readonly<Record<string, string>> = {
  bomb: '=200MB',
  'endless-fragments': '=64KB',
  'late-pong': '=500ms',
};

/** Events by fault: what each of the two clients saw. */
export interface Reactions {
  readonly versions: { readonly ws: string; readonly websockets: string };
  readonly rows: readonly { readonly fault: string; readonly ws: string; readonly websockets: string }[];
}

export async function observeReactions(): Promise<Reactions> {
  const server = await startServer('--faults');
  try {
    const names = [...faults.keys()];
    const paths = ['/faulty', ...names.map(name => `/faulty?${name}${values[name] ?? ''}`)];
    const origin = server.url.replace(/\/$/, '');
    const python = await pythonReactions(origin, paths);
    const ws = await Promise.all(paths.map(path => wsReaction(origin + path, patience)));
    for (const usual of [ws[0], python.reactions.get('/faulty')])
      assert.deepEqual(usual, { messages: ['"one"', '"two"'], hasPong: true });
    const rows = names.map((fault, at) => ({
      fault,
      ws: summaryOf(ws[at + 1]!),
      websockets: summaryOf(python.reactions.get(paths[at + 1]!)!),
    }));
    return { versions: { ws: wsVersion, websockets: python.version }, rows };
  } finally {
    await server.kill();
  }
}

async function pythonReactions(
  origin: string,
  paths: readonly string[],
): Promise<{ version: string; reactions: ReadonlyMap<string, Reaction> }> {
  const child = spawn(findPythonWithWebsockets(), [script, origin, String(patience / 1000)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { PATH: process.env['PATH'], PYTHONDONTWRITEBYTECODE: '1' },
  });
  child.stdin.end(paths.join('\n'));
  let printed = '';
  for await (const piece of child.stdout.setEncoding('utf8')) printed += piece;
  const [{ version }, ...lines] = printed
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line));
  return { version, reactions: new Map(lines.map(({ path, reaction }) => [path, reaction])) };
}

/** What differs from a session without a fault, in a few words. */
function summaryOf({ refusal, messages, hasPong, end }: Reaction): string {
  if (refusal !== undefined) return `refuses: ${refusal}`;
  const expected = ['"one"', '"two"'];
  const parts: string[] = [];
  const others = messages.filter((one, at) => !expected.includes(one) || messages.indexOf(one) < at);
  if (others.length > 0) parts.push(`delivers ${[...new Set(others)].join(', ')}`);
  if (end !== undefined) return [...parts, end].join('; ');
  if (!expected.every(one => messages.includes(one))) parts.push('waits');
  else if (!hasPong) parts.push('gets no pong');
  return parts.length === 0 ? 'notices nothing' : parts.join('; ');
}
