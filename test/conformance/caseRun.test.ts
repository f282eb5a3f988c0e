/** Single cases against handwritten answers: the tester's output, its waits, and the verdict. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  beginCase,
  type CaseRun,
  endCase,
  heldBytes,
  receiveBytes,
  takeOutput,
  timePassed,
} from '../../src/conformance/run.ts';
import { conformanceCases } from '../../src/conformance/table.ts';
import type { CaseResult } from '../../src/conformance/verdict.ts';
import { closeFrame, closePayload, frame, opcode } from '../support/rawFrame.ts';

type Role = 'client' | 'server';

/** Answers of a server are not masked. */
const answer = (of: number, payload: string | Buffer = '') => frame(of, payload, { key: null });
const closeAnswer = (code: number) => answer(opcode.close, closePayload(code));

function begin(number: string, role: Role = 'client'): CaseRun {
  const found = conformanceCases.find(each => each.number === number);
  assert.ok(found, number);
  return beginCase(found, role, undefined);
}

/** Takes the tester's output. */
function written(run: CaseRun): Buffer {
  return Buffer.concat(takeOutput(run));
}

function verdicts({ behavior, behaviorClose, verdict }: CaseResult): string[] {
  return [behavior, behaviorClose, verdict];
}

test('an echo and the reply to the close frame make a case OK', () => {
  const run = begin('1.1.2');
  const sent = written(run);
  assert.deepEqual([sent[0], sent[1], sent.length], [0x81, 0x80 | 125, 2 + 4 + 125]);
  receiveBytes(run, answer(opcode.text, '*'.repeat(125)));
  assert.equal(written(run)[0], 0x88, 'the tester closes after the last expected answer');
  receiveBytes(run, closeAnswer(1000));
  assert.equal(run.isDropping, false, 'the server ends TCP first');
  assert.deepEqual(verdicts(endCase(run)), ['OK', 'OK', 'OK']);
});

test("the tester answers a peer's pings; neither they nor heartbeat pongs between round trips affect the verdict", () => {
  const run = begin('1.1.2');
  written(run);
  receiveBytes(run, answer(opcode.ping, 'x'));
  assert.deepEqual(written(run)[0], 0x80 | opcode.pong);
  receiveBytes(run, Buffer.concat([answer(opcode.text, '*'.repeat(125)), closeAnswer(1000)]));
  assert.equal(endCase(run).verdict, 'OK');

  const trips = begin('9.7.2');
  written(trips);
  receiveBytes(trips, answer(opcode.ping));
  receiveBytes(trips, answer(opcode.pong));
  assert.equal(written(trips)[0], 0x80 | opcode.pong);
  for (let i = 0; i < 1000; i++) receiveBytes(trips, answer(opcode.text, 'Wj4&frog-9Wj4&fr'));
  receiveBytes(trips, closeAnswer(1000));
  assert.equal(endCase(trips).verdict, 'OK');
});

test('a peer that echoes an invalid close code has FAILED with the wrong code', () => {
  const run = begin('7.9.6');
  written(run);
  receiveBytes(run, closeAnswer(1016));
  const result = endCase(run);
  assert.deepEqual(verdicts(result), ['FAILED', 'WRONG CODE', 'FAILED']);
  assert.equal(result.remoteCloseCode, 1016);
});

test('an answer may arrive byte by byte', () => {
  const run = begin('1.1.2');
  const answers = Buffer.concat([answer(opcode.text, '*'.repeat(125)), closeAnswer(1000)]);
  for (const byte of answers) receiveBytes(run, Buffer.from([byte]));
  assert.equal(endCase(run).verdict, 'OK');
});

test('a wrong echo is FAILED, and the tester closes at once', () => {
  const run = begin('1.1.2');
  written(run);
  receiveBytes(run, answer(opcode.text, '*'.repeat(124)));
  assert.equal(written(run)[0], 0x88);
  const result = endCase(run);
  assert.equal(result.verdict, 'FAILED');
  assert.match(result.expected, /^text of 125 bytes, then a close with 1000$/);
  assert.match(result.seen, /^text of 124 bytes, then/);
});

test('happenings after the first wrong one are not kept, so a peer cannot fill the memory with them', () => {
  for (const number of ['7.1.6', '2.1']) {
    const run = begin(number);
    const held = heldBytes(run);
    for (let i = 0; i < 1000; i++) receiveBytes(run, answer(opcode.pong, 'x'.repeat(125)));
    for (let i = 0; i < 100; i++) receiveBytes(run, answer(opcode.text, 'x'.repeat(125)));
    assert.deepEqual([run.happenings.length, heldBytes(run) - held], [1, 125]);
    assert.equal(endCase(run).behavior, number === '2.1' ? 'FAILED' : 'INFORMATIONAL');
  }
});

test('a run counts the payloads that it holds', () => {
  const run = begin('9.1.3');
  assert.equal(heldBytes(run), 1024 * 1024);
  const echo = answer(opcode.text, Buffer.alloc(1024 * 1024, 'Wj4&frog-9'));
  receiveBytes(run, echo);
  assert.equal(heldBytes(run), 2 * 1024 * 1024);
});

test('an echo of the wrong kind is FAILED', () => {
  const run = begin('1.1.1');
  receiveBytes(run, answer(opcode.binary));
  assert.equal(endCase(run).behavior, 'FAILED');
});

test('silence past the deadline is FAILED', () => {
  const run = begin('2.1');
  assert.equal(run.wait, 1000);
  written(run);
  timePassed(run);
  assert.equal(written(run)[0], 0x88, 'the tester closes');
  timePassed(run);
  assert.equal(run.isDropping, true);
  assert.deepEqual(verdicts(endCase(run)), ['FAILED', 'UNCLEAN', 'FAILED']);
});

test('a server that leaves the end of TCP to the client is NON-STRICT', () => {
  const run = begin('2.1');
  receiveBytes(run, Buffer.concat([answer(opcode.pong), closeAnswer(1000)]));
  timePassed(run);
  assert.equal(run.isDropping, true);
  assert.deepEqual(verdicts(endCase(run)), ['OK', 'FAILED BY CLIENT', 'NON-STRICT']);
});

test('a peer that fails the connection with the right code, or by dropping TCP, is OK', () => {
  const run = begin('2.5');
  receiveBytes(run, closeAnswer(1002));
  assert.deepEqual(verdicts(endCase(run)), ['OK', 'OK', 'OK']);
  assert.deepEqual(verdicts(endCase(begin('2.5'))), ['OK', 'OK', 'OK']);
});

test('a peer that fails the connection with another code is NON-STRICT', () => {
  const run = begin('2.5');
  receiveBytes(run, closeAnswer(1007));
  assert.deepEqual(verdicts(endCase(run)), ['OK', 'WRONG CODE', 'NON-STRICT']);
});

test('a peer that leaves the closing to the tester has not failed the connection', () => {
  const run = begin('2.5');
  timePassed(run);
  receiveBytes(run, closeAnswer(1001));
  assert.deepEqual(verdicts(endCase(run)), ['OK', 'FAILED', 'FAILED']);
});

test('an answer that breaks a rule is FAILED, and the report names the rule', () => {
  const run = begin('2.1');
  receiveBytes(run, frame(opcode.pong));
  assert.equal(run.isDropping, true);
  const result = endCase(run);
  assert.equal(result.verdict, 'FAILED');
  assert.equal(result.seen, 'a broken rule: a server must not mask its frames');
});

test('a tester in a server’s role does not mask, reads masked frames, and ends TCP first', () => {
  const run = begin('1.1.1', 'server');
  assert.deepEqual(written(run), Buffer.from([0x81, 0]));
  receiveBytes(run, frame(opcode.text));
  receiveBytes(run, closeFrame(1000));
  assert.equal(run.isDropping, true);
  assert.deepEqual(verdicts(endCase(run)), ['OK', 'OK', 'OK']);
});

test('each chop of a frame is a separate write', () => {
  const run = begin('1.1.8', 'server');
  assert.deepEqual(
    takeOutput(run).map(({ length }) => length),
    [...Array(65).fill(997), 10 + 65_536 - 65 * 997],
  );
});

test('the header of a long frame, too, can be chopped', () => {
  const found = conformanceCases.find(({ name }) => name === 'lengths/126-by-byte')!;
  assert.deepEqual(
    takeOutput(beginCase(found, 'client', undefined)).map(({ length }) => length),
    [...Array(4 + 4 + 6).fill(1), 120],
  );
});

test('each wait notes a timeout: a peer that fails at the second part is OK, at the third NON-STRICT', () => {
  const fast = begin('6.4.1');
  timePassed(fast);
  receiveBytes(fast, closeAnswer(1007));
  assert.deepEqual(verdicts(endCase(fast)), ['OK', 'OK', 'OK']);
  const slow = begin('6.4.1');
  timePassed(slow);
  timePassed(slow);
  receiveBytes(slow, closeAnswer(1007));
  assert.deepEqual(verdicts(endCase(slow)), ['NON-STRICT', 'OK', 'NON-STRICT']);
  const never = begin('6.4.1');
  for (let waits = 0; waits < 3; waits++) timePassed(never);
  receiveBytes(never, closeAnswer(1001));
  assert.equal(endCase(never).verdict, 'FAILED');
});

test('a text whose header and parts are written separately is one masked frame', () => {
  const run = begin('6.4.3');
  timePassed(run);
  timePassed(run);
  const bytes = written(run);
  assert.deepEqual([bytes[0], bytes[1]], [0x81, 0x80 | 21]);
  const payload = bytes.subarray(6).map((byte, at) => byte ^ bytes[2 + (at % 4)]!);
  assert.equal(Buffer.from(payload).toString('hex'), 'cebae1bdb9cf83cebcceb5f4908080656469746564');
});

test('frames without a wait between them share a write, unless the case writes each separately', () => {
  assert.equal(takeOutput(begin('5.9')).length, 1);
  assert.equal(takeOutput(begin('5.10')).length, 2);
  assert.equal(takeOutput(begin('5.6')).length, 1);
  assert.equal(takeOutput(begin('6.4.3')).length, 2, 'the header, and the first part');
});

test('the result of round trips that end early has the number of echoes', () => {
  const run = begin('9.7.1', 'server');
  written(run);
  receiveBytes(run, frame(opcode.text));
  timePassed(run);
  const result = endCase(run);
  assert.equal(result.verdict, 'FAILED');
  assert.equal(result.expected, '1000 echoes, then a close with 1000');
  assert.match(result.seen, /^1 echo, then/);
});
