/** Observes the reactions of npm's ws and Python's websockets to each fault. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { faults } from '../../../src/handlers/faults/table.ts';
import { findPythonWithWebsockets } from '../../support/install.ts';
import { startServer } from '../../support/serverProcess.ts';
import { isAnswered, type Reaction, wsReaction, wsVersion } from './wsReactions.ts';

const script = fileURLToPath(
  new URL('../../../../test/handlers/faults/websockets_reactions.py', import.meta.url),
);

/** Milliseconds of silence after which a session counts as over; a busy machine may need more. */
const usualPatience = 3000;

/** Values that make the reaction visible sooner. */
const values: Readonly<Record<string, string>> = {
  bomb: '=200MB',
  'endless-fragments': '=64KB',
  'late-pong': '=500ms',
  'late-close-answer': '=500ms',
  'drip-handshake': '=1ms',
};

export interface ReactionRow {
  readonly fault: string;
  readonly ws: string;
  readonly websockets: string;
}

export interface Reactions {
  /** Of ws and websockets. */
  readonly versions: readonly [ws: string, websockets: string];
  readonly rows: readonly ReactionRow[];
}

/** Runs both clients against each of these faults, all sessions at once. */
export async function observeReactions(
  names: readonly string[] = [...faults.keys()],
  patience = usualPatience,
): Promise<Reactions> {
  const server = await startServer('--faults');
  try {
    const paths = ['/faulty', ...names.map(name => `/faulty?seed=1&${name}${values[name] ?? ''}`)];
    const origin = server.url.replace(/\/$/, '');
    const [python, ws] = await Promise.all([
      pythonReactions(origin, paths, patience),
      Promise.all(paths.map(path => wsReaction(origin + path, patience))),
    ]);
    const rows = names.map((fault, at) => ({
      fault,
      ws: summaryOf(ws[at + 1]!),
      websockets: summaryOf(python.reactions.get(paths[at + 1]!)!),
    }));
    const usual = {
      fault: 'none',
      ws: summaryOf(ws[0]!),
      websockets: summaryOf(python.reactions.get('/faulty')!),
    };
    assert.deepEqual(usual, { fault: 'none', ws: unnoticed, websockets: unnoticed });
    return { versions: [wsVersion, python.version], rows };
  } finally {
    await server.kill();
  }
}

async function pythonReactions(
  origin: string,
  paths: readonly string[],
  patience: number,
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

const unnoticed = 'notices nothing';

/** The differences from a session without a fault, in a few words. */
function summaryOf(reaction: Reaction): string {
  const { refusal, messages, end } = reaction;
  if (refusal !== undefined) return `refuses: ${refusal}`;
  const isExpected = (one: string, at: number) =>
    (one === '"one"' || one === '"two"') && messages.indexOf(one) === at;
  const others = new Set(messages.filter((one, at) => !isExpected(one, at)));
  const parts = others.size === 0 ? [] : [`delivers ${[...others].join(', ')}`];
  if (end !== undefined) parts.push(end);
  else if (!messages.includes('"two"')) parts.push('waits');
  else if (!isAnswered(reaction)) parts.push('gets no pong');
  return parts.length === 0 ? unnoticed : parts.join('; ');
}
