/** Random scripts, played against random peers: the code throws only UsageErrors, and every call returns. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../../src/options/error.ts';
import { maxScriptBacklog } from '../../src/protocol/scriptLimits.ts';
import { parseScript } from '../../src/scripts/parse.ts';
import { checkPlayable } from '../../src/scripts/playable.ts';
import { isBacklogFull, newPlayer, nextAction, playReceived } from '../../src/scripts/player.ts';
import { type Received, showReceived } from '../../src/scripts/received.ts';
import type { Script } from '../../src/scripts/script.ts';
import { newRandom, type Random } from '../support/random.ts';

const lines = [
  ...[
    '> text "a"',
    '> text "{{v}}"',
    '> close 1000',
    '> ping "p" more',
    '> hex 81',
    '> end',
    '> drop',
    '> any',
  ],
  ...[
    '< text "a"',
    '< text "{{v?}}a{{?}}"',
    '< text any',
    '< any',
    '< close',
    '< ping',
    '< end',
    '< text more "a"',
  ],
  ...[
    '< continuation "a"',
    'repeat',
    'repeat 2',
    'repeat 3 as v',
    'end',
    'end',
    'wait 0ms',
    'wait 5ms',
    'set v "a"',
  ],
  ...[
    'timeout 1ms',
    'timeout 0',
    'strict',
    'subprotocol a',
    '# x',
    '',
    '> text "a',
    'wait',
    '< txt',
    '> text x 2',
  ],
];

const kinds: readonly Received['kind'][] = [
  'text',
  'text',
  'binary',
  'ping',
  'pong',
  'close',
  'end',
  'failed',
];

function makeScript(random: Random, side: 'server' | 'client'): Script | undefined {
  const text = Array.from({ length: 1 + random.below(12) }, () => random.pick(lines)).join('\n');
  try {
    const script = parseScript('random', text);
    checkPlayable(script, side);
    return script;
  } catch (error) {
    assert.ok(error instanceof UsageError && /^random: line \d+: /.test(error.message), String(error));
    return undefined;
  }
}

function playRandomly(random: Random, script: Script, side: 'server' | 'client'): boolean {
  const player = newPlayer(script, side);
  let now = 0;
  for (let steps = 0; steps < 400; steps++) {
    const action = nextAction(player, now);
    if (action.kind === 'over') {
      if (!action.outcome.isEqual) assert.ok(action.outcome.line > 0 && action.outcome.seen !== '');
      return true;
    }
    if (action.kind === 'wait') now = Math.min(action.until, now + random.below(20));
    assert.ok(player.backlog.length <= maxScriptBacklog);
    if (random.oneIn(2) && !isBacklogFull(player)) {
      const received = {
        kind: random.pick(kinds),
        bytes: Buffer.from(random.pick(['', 'a', 'aa', '\x03\xe8'])),
      };
      assert.ok(showReceived(received) !== '');
      playReceived(player, received);
    }
  }
  return false;
}

test('any text is a script or an error names its line, and a peer that closes ends every script', () => {
  const random = newRandom(13);
  let scripts = 0;
  let over = 0;
  for (let round = 0; round < 4000; round++) {
    const side = random.oneIn(2) ? 'server' : 'client';
    const script = makeScript(random, side);
    if (script === undefined) continue;
    scripts++;
    if (playRandomly(random, script, side)) over++;
  }
  assert.ok(scripts > 300, `${scripts} scripts`);
  assert.equal(over, scripts);
});
