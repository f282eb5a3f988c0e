import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseScript } from '../../src/scripts/parse.ts';
import { newPlayer, nextAction } from '../../src/scripts/player.ts';

/** The bytes that a server sends for these lines, in hexadecimal digits. */
function sent(...lines: string[]): string {
  const player = newPlayer(parseScript('s', lines.map(line => `> ${line}`).join('\n')), 'server');
  const pieces = lines.map(() => {
    const action = nextAction(player, 0);
    assert.equal(action.kind, 'send');
    return action.kind === 'send' ? action.bytes.toString('hex') : '';
  });
  return pieces.join(' ');
}

function refuses(text: string, sentence: string): void {
  assert.throws(() => parseScript('s', text), { name: 'UsageError', message: `s: ${sentence}` });
}

describe('a sent line', () => {
  test('has the bytes of RFC 6455 §5.7', () => {
    assert.equal(sent('text "Hello"'), '810548656c6c6f');
    assert.equal(sent('text more "Hel"', 'continuation "lo"'), '010348656c 80026c6f');
    assert.equal(sent('text key=37fa213d "Hello"'), '818537fa213d7f9f4d5158');
    assert.equal(sent('ping "Hello"'), '890548656c6c6f');
    assert.equal(sent('binary 00 x 256').slice(0, 8), '827e0100');
    assert.equal(sent('binary 00 x 65536').slice(0, 20), '827f0000000000010000');
  });

  test('can combine strings, hexadecimal digits and repetitions in any order', () => {
    assert.equal(sent('binary \'a"\' 00ff "\\n" x 3 hex:01'), '820861220' + '0ff0a0a0a01');
    assert.equal(sent('text'), '8100');
    assert.equal(sent('text "é"'), '8102c3a9');
    assert.equal(sent('hex 81 05 4865', 'hex ff'), '81054865 ff');
  });

  test('has a close code, or none', () => {
    assert.equal(sent('close'), '8800');
    assert.equal(sent('close 1000'), '880203e8');
    assert.equal(sent('close 4000 "no"'), '88040fa06e6f');
    assert.equal(sent('close hex:03'), '880103');
  });

  test('has the invalid form that its options demand', () => {
    assert.equal(sent('text rsv=4 "a"'), 'c10161');
    assert.equal(sent('text rsv=3'), 'b100');
    assert.equal(sent('ping more'), '0900');
    assert.equal(sent('opcode 3 "a"'), '830161');
    assert.equal(sent('op=11'), '8b00');
    assert.equal(sent('text len=2 "a"'), '817e000161');
    assert.equal(sent('text len=8 "a"'), '817f000000000000000161');
    assert.equal(sent('text says=3 "a"'), '810361');
    assert.equal(sent('binary says=9007199254740992'), '827f0020000000000000');
    assert.equal(sent('binary says=18446744073709551615'), '827fffffffffffffffff');
    assert.equal(sent('ping len=2 says=126'), '897e007e');
    assert.equal(sent('text compressed "Hello"'), 'c107f248cdc9c90700');
  });

  test('can have the form of the trace', () => {
    assert.equal(sent('text, 5 bytes: "Hello"'), sent('text "Hello"'));
    assert.equal(sent('text, 1 byte, first fragment: "a" [masked]'), sent('text more "a"'));
    assert.equal(sent('continuation, 1 byte, next fragment: "[b]"'), sent('continuation more "[b]"'));
    assert.equal(sent('continuation, 1 byte, last fragment: "c" [final]'), sent('continuation "c"'));
    assert.equal(sent('text, 5 bytes (7 deflated): "Hello" [final, compressed]'), sent('text "Hello"'));
    assert.equal(
      sent('close, 5 bytes: 4001 (a private code of the application) "(x)" [final, masked]'),
      sent('close 4001 "(x)"'),
    );
    assert.equal(sent('close, 0 bytes, no code [final]'), sent('close'));
    assert.equal(sent('close, 6 bytes: 1000 "done"'), sent('close 1000 "done"'));
    assert.equal(sent('binary, 2 bytes: 00ff'), sent('binary 00ff'));
    assert.equal(sent('ping, 0 bytes'), sent('ping'));
    assert.equal(sent('opcode 3, 0 bytes'), sent('opcode 3'));
  });
});

test('the parser ignores comments, empty lines, indentation and the kind of line ends', () => {
  const { steps } = parseScript('s', '\r\n# a comment\r\n\t> text "#1" # another\r\n\r\n');
  assert.deepEqual(
    steps.map(step => [step.kind, step.line, step.source]),
    [['frame', 3, 'text "#1" # another']],
  );
});

test('an error names the line, the mistake and the remedy', () => {
  refuses('\n> txt "a"', 'line 2: unknown word "txt"; did you mean text?');
  refuses(
    '> frob',
    'line 1: unknown word "frob"; a frame is one of continuation, text, binary, close, ping, pong, any, opcode, hex, end, drop',
  );
  refuses(
    'tell me',
    'line 1: unknown word "tell"; a line begins with <, > or one of wait, repeat, end, set, timeout, subprotocol, strict',
  );
  refuses('wiat 1s', 'line 1: unknown word "wiat"; did you mean wait?');
  refuses('wait', 'line 1: write: wait TIME, such as wait 50ms');
  refuses('wait long', 'line 1: wait takes a time such as 30s, 500ms or 2m (at most 24 days), not "long"');
  refuses('> text "a', 'line 1: a string has no end; add the closing quote');
  refuses(
    '> text "\\q"',
    `line 1: "\\"\\\\q\\"" is not a JSON string; write '…' for text without escapes, or hexadecimal digits`,
  );
  refuses('> binary 0', 'line 1: bytes are pairs of hexadecimal digits such as 00ff, not "0"');
  refuses('> close 70000', 'line 1: a close code is a number from 0 to 65535, not "70000"');
  refuses('> text "a" rsv=8', 'line 1: rsv is a number from 0 to 7, not "8"');
  refuses(
    '> text says=18446744073709551616',
    'line 1: says is a number below 2^64, not "18446744073709551616"',
  );
  refuses('> text len=1', 'line 1: len is 0, 2 or 8 bytes, not "1"');
  refuses('> text key=1', 'line 1: key is eight hexadecimal digits or none, not "1"');
  refuses('> text x 3', 'line 1: x N repeats the bytes or the string before it, without variables');
  refuses(
    '< text, 99 bytes: "abc" …',
    'line 1: the trace shows only the beginning of a long payload; write the rest, or any',
  );
  refuses(
    '< text, 9 bytes deflated: 00 [final, compressed, masked]',
    'line 1: the trace shows a compressed payload; write the inflated one',
  );
  refuses(
    '> 231 bytes: "HTTP/1.1 101" …',
    'line 1: a script does not contain the handshake; remove the line',
  );
  refuses('repeat 0', 'line 1: repeat takes a number from 1 to 1000000, not "0"');
  refuses('repeat 2 with n', 'line 1: write: repeat, repeat N or repeat N as NAME');
  refuses('> ping\nrepeat 2\n> ping', 'line 2: the repeat has no end; add a line "end"');
  refuses('subprotocol a,b', 'line 1: "a,b" is not a valid subprotocol; write a token such as chat');
  refuses('subprotocol a\nsubprotocol b', 'line 2: a script has one subprotocol; remove a line');
  refuses('end', 'line 1: there is no repeat to end; remove the line');
  refuses('repeat 2\nset a "b"\nend', 'line 3: a repeat needs a frame or a wait; add one');
  refuses(`${'repeat 2\n'.repeat(9)}`, 'line 9: repeats are nested at most 8 deep; remove one');
});

test('a variable must have a value before a line uses it', () => {
  refuses(
    '> text "{{name}}"',
    'line 1: {{name}} has no value yet; write set name "…", or {{name?}} in an awaited line',
  );
  refuses('set name "ada"\n> text "{{nam}}"', 'line 2: {{nam}} has no value yet; did you mean {{name}}?');
  refuses('set a "{{b?}}"', 'line 1: set takes a text without captures; write the text');
  refuses('set 1a "b"', 'line 1: a variable has a name of letters, digits and _, not "1a"');
  refuses(
    '< text "{{a?}}{{b?}}"',
    'line 1: two captures in a row have no boundary; write something between them',
  );
  refuses(
    'set a "b"\n< text "{{a?}}-{{a}}"',
    'line 2: a line cannot use a variable that it captures; use it in the next line',
  );
});

test('a script cannot exceed its memory limits', () => {
  refuses('> text "a" x 16777217', 'line 1: x is a number from 0 to 16777216, not "16777217"');
  refuses(
    '> text "ab" x 16777216',
    'line 1: a payload has at most 16777216 bytes, not 33554432; make it shorter',
  );
  refuses(
    `${'> text "a" x 16777216\n'.repeat(5)}`,
    'line 4: the payloads of a script have at most 67108864 bytes together; make them shorter',
  );
});
