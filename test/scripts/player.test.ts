import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseScript } from '../../src/scripts/parse.ts';
import { checkPlayable } from '../../src/scripts/playable.ts';
import { newPlayer, nextAction, type Player, playReceived } from '../../src/scripts/player.ts';
import { type Received, showReceived } from '../../src/scripts/received.ts';
import { FrameReader } from '../support/rawFrame.ts';

function play(text: string, side: 'server' | 'client' = 'server'): Player {
  const script = parseScript('s', text);
  checkPlayable(script, side);
  return newPlayer(script, side, () => (side === 'client' ? Buffer.from('37fa213d', 'hex') : null));
}

const kinds = ['continuation', 'text', 'binary', '', '', '', '', '', 'close', 'ping', 'pong'] as const;

/** The player's actions until it waits or the script is over: the sent frames, `waits 50`, and the outcome. */
function actions(player: Player, now = 0): string[] {
  const done: string[] = [];
  for (;;) {
    const action = nextAction(player, now);
    if (action.kind === 'send') {
      const reader = new FrameReader();
      reader.add(action.bytes);
      const { opcode, payload } = reader.next()!;
      const bytes = Buffer.from(payload);
      done.push(showReceived({ kind: kinds[opcode] as Received['kind'], bytes }));
    } else if (action.kind === 'wait') {
      return [...done, `waits ${action.until - now}`];
    } else if (action.kind === 'over') {
      const { outcome } = action;
      return [
        ...done,
        outcome.isEqual ? 'equal' : `line ${outcome.line}: ${outcome.expected} | ${outcome.seen}`,
      ];
    } else done.push(action.kind);
  }
}

function passes(player: Player, kind: Received['kind'], payload: string | Buffer = ''): void {
  playReceived(player, { kind, bytes: Buffer.from(payload as string) });
}

function closes(player: Player, code = 1000, reason = ''): void {
  passes(player, 'close', Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]));
}

describe('the player', () => {
  test('sends its lines, and awaits those of the peer', () => {
    const player = play('> text "a"\n< text "b"\n> text "c"\n< close 1000\n> close 1000');
    assert.deepEqual(actions(player), ['text "a"', 'waits 10000']);
    passes(player, 'text', 'b');
    assert.deepEqual(actions(player), ['text "c"', 'waits 10000']);
    closes(player);
    assert.deepEqual(actions(player), ['close 1000', 'equal']);
    assert.deepEqual(actions(player), ['equal'], 'a script that is over stays over');
  });

  test('plays the other side of the same script', () => {
    const player = play('> text "a"\n< text "b"\n> close 1000\n< close 1000', 'client');
    assert.deepEqual(actions(player), ['waits 10000']);
    passes(player, 'text', 'a');
    assert.deepEqual(actions(player), ['text "b"', 'waits 10000']);
    closes(player);
    assert.deepEqual(actions(player), ['close 1000', 'equal']);
  });

  test('compares frames that arrived before their line', () => {
    const player = play('wait 50ms\n< text "early"\n< text "too"');
    passes(player, 'text', 'early');
    passes(player, 'text', 'too');
    assert.deepEqual(actions(player, 7), ['waits 50']);
    assert.deepEqual(actions(player, 56), ['waits 1']);
    assert.deepEqual(actions(player, 57), ['equal']);
  });

  test('reports the first difference with its line, and stops', () => {
    const player = play('\n< text "hello"\n> text "world"');
    passes(player, 'text', 'hallo');
    assert.deepEqual(actions(player), ['line 2: text "hello" | text "hallo"']);
    passes(player, 'text', 'hello');
    assert.deepEqual(actions(player), ['line 2: text "hello" | text "hallo"']);
  });

  test('distinguishes kinds of frames, even with equal payloads', () => {
    const differences: [string, Received['kind'], string, string][] = [
      ['text "a"', 'binary', 'a', 'binary 61'],
      ['binary 61', 'text', 'a', 'text "a"'],
      ['ping "a"', 'pong', 'a', 'pong "a"'],
      ['close 1000', 'end', '', 'end'],
      ['end', 'text', '', 'text ""'],
      ['text any', 'binary', '', 'binary'],
      ['any', 'end', '', 'end'],
      [
        'any',
        'failed',
        'a client must mask its frames',
        'a frame that breaks a rule: a client must mask its frames',
      ],
    ];
    for (const [line, kind, payload, seen] of differences) {
      const player = play(`strict\n< ${line}`);
      passes(player, kind, payload);
      assert.deepEqual(actions(player), [`line 2: ${line} | ${seen}`]);
    }
  });

  test('accepts any payload, and any frame', () => {
    const player = play('< text any\n< any\n< any\n< binary 00 any ff\n< close any');
    passes(player, 'text', 'x');
    passes(player, 'binary', 'y');
    closes(player, 4000);
    passes(player, 'binary', Buffer.from('00aabbff', 'hex'));
    passes(player, 'close');
    assert.deepEqual(actions(player), ['equal']);
  });

  test('compares the reason of a close frame only if the line has one', () => {
    const outcome = (line: string) => {
      const player = play(`< ${line}`);
      closes(player, 1000, 'bye');
      return actions(player)[0];
    };
    for (const line of ['close', 'close 1000', 'close 1000 "bye"', 'close 1000 any', 'close any'])
      assert.equal(outcome(line), 'equal', line);
    for (const line of ['close 1001', 'close 1000 ""', 'close 1000 "by"', 'close ""'])
      assert.equal(outcome(line), `line 1: ${line} | close 1000 "bye"`);
  });

  test('keeps the text that a variable matched, and sends it', () => {
    const player = play(`set greeting "hi"
      < text '{"id":{{id?}},"name":"{{name?}}"}'
      > text "{{greeting}} {{name}}, you are {{id}}"
      < text "bye {{name}}{{?}}"`);
    passes(player, 'text', '{"id":17,"name":"ada"}');
    assert.deepEqual(actions(player), ['text "hi ada, you are 17"', 'waits 10000']);
    passes(player, 'text', 'bye bob');
    assert.deepEqual(actions(player), ['line 4: text "bye {{name}}{{?}}" | text "bye bob"']);
  });

  test('matches a payload if any choice of captures does', () => {
    const outcome = (line: string, payload: string) => {
      const player = play(`< text "${line}"`);
      passes(player, 'text', payload);
      return actions(player)[0] === 'equal';
    };
    assert.ok(outcome('{{?}}ab', 'aab'));
    assert.ok(outcome('a{{?}}a', 'aa'));
    assert.ok(outcome('{{?}}b{{?}}b', 'abcbb'));
    assert.ok(outcome('{{?}}', ''));
    assert.ok(!outcome('a{{?}}a', 'a'));
    assert.ok(!outcome('{{?}}b{{?}}b', 'ab'));
    assert.ok(!outcome('{{?}}ab', 'abc'));
  });

  test('compares a whole message with lines that list its fragments', () => {
    const player = play(
      '< text more "he"\n< continuation more "l"\n< continuation "lo"\n< binary more 00\n< continuation',
    );
    passes(player, 'text', 'hello');
    passes(player, 'binary', Buffer.from([0]));
    assert.deepEqual(actions(player), ['equal']);
    const interrupted = play('< text more "he"\n< ping\n> text "between"\n< continuation "llo"');
    passes(interrupted, 'ping');
    assert.deepEqual(actions(interrupted), ['text "between"', 'waits 10000']);
    passes(interrupted, 'text', 'hello');
    assert.deepEqual(actions(interrupted), ['equal']);
  });

  test('answers pings and ignores pongs that no line awaits', () => {
    const player = play('< text "a"\n> text "b"');
    assert.deepEqual(actions(player), ['waits 10000']);
    passes(player, 'pong', 'x');
    passes(player, 'ping', 'y');
    assert.deepEqual(actions(player), ['pong "y"', 'waits 10000']);
    passes(player, 'text', 'a');
    assert.deepEqual(actions(player), ['text "b"', 'equal']);
  });

  test('does not answer pings if the script awaits one or is strict', () => {
    const player = play('< ping "y"\n< text "a"');
    passes(player, 'pong', 'x');
    passes(player, 'ping', 'y');
    passes(player, 'ping', 'z');
    assert.deepEqual(actions(player), ['line 2: text "a" | ping "z"']);
    const strict = play('strict\n< text "a"');
    passes(strict, 'pong', 'x');
    assert.deepEqual(actions(strict), ['line 2: text "a" | pong "x"']);
  });

  test('reports a frame that does not arrive within the timeout of its line', () => {
    const player = play('timeout 1s\n> text "a"\n< text "b"');
    assert.deepEqual(actions(player, 500), ['text "a"', 'waits 1000']);
    assert.deepEqual(actions(player, 1499), ['waits 1']);
    assert.deepEqual(actions(player, 1500), ['line 3: text "b" | nothing within 1s']);
    assert.deepEqual(actions(play('timeout 0\n< text "b"'), 0), ['waits Infinity']);
  });

  test('repeats a block as often as the script says, and counts the rounds', () => {
    const player = play('repeat 2 as i\nrepeat 2 as j\n> text "{{i}}.{{j}}"\nend\nend');
    assert.deepEqual(actions(player), ['text "1.1"', 'text "1.2"', 'text "2.1"', 'text "2.2"', 'equal']);
  });

  test('leaves an endless repeat when its first line does not match', () => {
    const player = play(
      'repeat\n< text "say {{word?}}"\n> text "{{word}}"\nend\n< text "quit"\n> close 1000',
    );
    assert.deepEqual(actions(player), ['waits Infinity']);
    passes(player, 'text', 'say a');
    assert.deepEqual(actions(player), ['text "a"', 'waits Infinity']);
    passes(player, 'text', 'say b');
    passes(player, 'text', 'quit');
    assert.deepEqual(actions(player), ['text "b"', 'close 1000', 'equal']);
  });

  test('leaves an endless repeat when the peer closes', () => {
    const ticker = play('repeat\n> text "tick"\nwait 1s\nend\n< close 1001');
    assert.deepEqual(actions(ticker, 0), ['text "tick"', 'waits 1000']);
    assert.deepEqual(actions(ticker, 1000), ['text "tick"', 'waits 1000']);
    closes(ticker, 1001);
    assert.deepEqual(actions(ticker, 1001), ['equal']);
    const dialog = play('repeat\n> text "a"\n< text "b"\nend');
    assert.deepEqual(actions(dialog), ['text "a"', 'waits 10000']);
    closes(dialog);
    assert.deepEqual(actions(dialog), ['equal']);
  });

  test('reports a peer that leaves before the script is over', () => {
    const player = play('> text "a"\nwait 1s\n> text "b"');
    assert.deepEqual(actions(player), ['text "a"', 'waits 1000']);
    closes(player, 1001);
    assert.deepEqual(actions(player), ['line 2: a client that stays until the script ends | close 1001']);
    const counted = play('repeat 3\n> text "a"\nwait 1s\nend\n< close');
    assert.deepEqual(actions(counted), ['text "a"', 'waits 1000']);
    closes(counted);
    assert.deepEqual(
      actions(counted, 1000),
      ['text "a"', 'waits 1000'],
      'a later line awaits the close frame',
    );
  });

  test('ends the connection only in the last line', () => {
    assert.deepEqual(actions(play('> text "a"\n> drop')), ['text "a"', 'drop', 'equal']);
    assert.deepEqual(actions(play('> end')), ['end', 'equal']);
    assert.throws(() => play('> end\n< end'), /s: line 1: the connection ends here; make it the last line/);
  });

  test('cannot await a part of a message', () => {
    const refuses = (text: string, sentence: string) =>
      assert.throws(() => play(text), { message: `s: ${sentence}` });
    refuses('< text more "a"', 'line 1: the rest of the message is missing; add a line with continuation');
    refuses(
      'repeat\n< text more "a"\nend\n< continuation',
      'line 2: the rest of the message is missing; add a line with continuation',
    );
    refuses('< continuation "a"', 'line 1: there is no message to continue; write text or binary');
    refuses('< text more "a"\n< text "b"', 'line 2: the message of line 1 is unfinished; write continuation');
    refuses('< ping more', 'line 1: a control frame has no fragments; remove more');
    assert.doesNotThrow(() => play('< text more "a"\n< ping\n> text "b"\n< continuation'));
    assert.doesNotThrow(() => play('> text more "a"\n> ping more'));
  });

  test('cannot send an incomplete frame', () => {
    for (const line of ['any', 'text any', 'text "{{a?}}"', 'close 1000 any']) {
      assert.throws(() => play(`> ${line}`), /^UsageError: s: line 1: a sent frame must be complete/);
      assert.doesNotThrow(() => play(`> ${line}`, 'client'));
    }
  });

  test('cannot await invalid frames', () => {
    for (const line of ['hex 8100', 'text rsv=4 "a"', 'text key=00000000 "a"'])
      assert.throws(() => play(`< ${line}`), /line 1: a script can only await valid frames/);
    assert.doesNotThrow(() => play('< hex 8100', 'client'));
  });
});
