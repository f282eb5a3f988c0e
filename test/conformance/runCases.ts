/**
 * Conformance cases, after the groups and numbers of the Autobahn test suite, with a strict verdict on each: exactly the
 * answers that are due, in order, then the close frame that is due, then the end of the TCP stream by FIN.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connectRaw, type RawClient } from '../support/rawClient.ts';
import { closeFrame, opcode, type RawFrame } from '../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../support/serverProcess.ts';

export interface Case {
  /** As the suite numbers it, or with a letter where it has no such case. */
  readonly id: string;
  /** What the server does, as the end of a sentence that begins with "the server". */
  readonly does: string;
  /** Header fields for the opening handshake. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly sends: readonly Buffer[];
  /** 'together': in one write; 'each': a write a frame; a number: chops of so many bytes. 'together' if not given. */
  readonly chopped?: 'together' | 'each' | number;
  /** The frames that have to come before the close frame, and no others. */
  readonly answers?: readonly Answer[];
  /** The server fails the connection with this code and a reason. */
  readonly failsWith?: number;
  /** `sends` has a close frame, and the answer to it has this payload. */
  readonly closesWith?: Buffer;
}

export interface Answer {
  readonly opcode: number;
  readonly payload: Buffer;
}

/** A case hangs where the server does not do what is due: this ends it. Milliseconds; no measure of speed. */
const patience = 60_000;

export function answer(answerOpcode: number, payload: string | Buffer = ''): Answer {
  return { opcode: answerOpcode, payload: typeof payload === 'string' ? Buffer.from(payload) : payload };
}

/** Runs each case on a connection of its own, many at a time, to one server: with default options, if none are given. */
export function runCases(title: string, cases: readonly Case[], ...serverOptions: string[]): void {
  describe(title, { concurrency: 8 }, () => {
    let server: ServerProcess;
    before(async () => {
      server = await startServer(...serverOptions);
    });
    after(() => assertUnharmed(server));
    for (const each of cases) {
      test(`${each.id} the server ${each.does}`, { timeout: patience }, () => runCase(server.port, each));
    }
  });
}

/** The server has logged no fault of its own, and ends in order. */
export async function assertUnharmed(server: ServerProcess): Promise<void> {
  assert.equal(await server.stop(), 0, `the server ends with 0; it said: ${server.stderr()}`);
  assert.deepEqual(
    server.logged().filter(({ level }) => level === 'error'),
    [],
  );
}

async function runCase(port: number, each: Case): Promise<void> {
  const client = await connectRaw(port, { path: '/echo', headers: each.headers ?? {} });
  try {
    await send(client, each.sends, each.chopped ?? 'together');
    for (const due of each.answers ?? []) assertFrame(each.id, await client.nextFrame(), due);
    if (each.failsWith !== undefined) {
      assertFailed(each.id, await client.nextFrame(), each.failsWith);
    } else {
      if (each.closesWith === undefined) client.send(closeFrame(1000));
      const payload = each.closesWith ?? Buffer.from([0x03, 0xe8]);
      assertFrame(each.id, await client.nextFrame(), answer(opcode.close, payload));
    }
    await assertEnd(each.id, client);
  } finally {
    client.destroy();
  }
}

async function send(
  client: RawClient,
  frames: readonly Buffer[],
  chopped: 'together' | 'each' | number,
): Promise<void> {
  if (chopped === 'together') client.send(Buffer.concat(frames));
  else if (chopped === 'each') for (const each of frames) await client.sendChopped(each, each.length);
  else await client.sendChopped(Buffer.concat(frames), chopped);
}

/** A whole message or control frame, as a server sends it: not masked, nothing reserved. */
export function assertFrame(id: string, actual: RawFrame | undefined, due: Answer): void {
  if (actual === undefined)
    assert.fail(`${id}: the stream ended where a frame with opcode ${due.opcode} was due`);
  const { payload, ...header } = actual;
  assert.deepEqual(
    { ...header, length: payload.length },
    { fin: true, rsv: 0, opcode: due.opcode, isMasked: false, length: due.payload.length },
    `${id}: ${show(actual)} came, where opcode ${due.opcode} with ${due.payload.length} bytes was due`,
  );
  assert.ok(payload.equals(due.payload), `${id}: ${show(actual)} came, and its payload is wrong`);
}

export function assertFailed(id: string, actual: RawFrame | undefined, code: number): void {
  if (actual === undefined) assert.fail(`${id}: the stream ended without a close frame`);
  const { fin, rsv, isMasked, payload } = actual;
  assert.equal(actual.opcode, opcode.close, `${id}: ${show(actual)} came, where a close frame was due`);
  assert.deepEqual({ fin, rsv, isMasked }, { fin: true, rsv: 0, isMasked: false }, id);
  assert.equal(payload.readUInt16BE(0), code, `${id}: the close code`);
  // A reason is no must, but this server promises one; fatal: it has to be UTF-8.
  const reason = new TextDecoder('utf-8', { fatal: true }).decode(payload.subarray(2));
  assert.notEqual(reason, '', `${id}: the close frame gives a reason`);
}

/** Nothing more comes, the server ends the stream first and in order, and so the connection closes. */
export async function assertEnd(id: string, client: RawClient): Promise<void> {
  assert.deepEqual((await client.remainingFrames()).map(show), [], `${id}: nothing follows the close frame`);
  assert.equal(await client.ended, 'FIN', `${id}: the server ends the TCP stream`);
  await client.end();
}

export function show({ fin, rsv, opcode: of, payload }: RawFrame): string {
  return `[opcode ${of} fin ${fin} rsv ${rsv} ${payload.length} bytes ${payload.toString('latin1', 0, 40)}]`;
}
