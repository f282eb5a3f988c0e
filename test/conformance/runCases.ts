/**
 * Runs conformance cases, numbered as in the Autobahn test suite. The verdict is strict: exactly the expected answers in
 * order, then the expected close frame, then a FIN.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connectRaw, type RawClient } from '../support/rawClient.ts';
import { closeFrame, opcode, type RawFrame } from '../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../support/serverProcess.ts';

export interface Case {
  /** The suite's number, with a letter or an `x` for a case that the suite does not have. */
  readonly id: string;
  /** What the server does: the rest of a sentence that begins with "the server". */
  readonly does: string;
  /** Header fields for the opening handshake. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly sends: readonly Buffer[];
  /** 'together' (the default): in one write; 'each': one write per frame; a number: in chops of so many bytes. */
  readonly chopped?: 'together' | 'each' | number;
  /** The frames that must come before the close frame, and no others. */
  readonly answers?: readonly Answer[];
  /** The server fails the connection with this code and a reason. */
  readonly failsWith?: number;
  /** `sends` contains a close frame, and the server's close frame has this payload. */
  readonly closesWith?: Buffer;
}

export interface Answer {
  readonly opcode: number;
  readonly payload: Buffer;
}

/** Milliseconds until a case fails in which the server does not answer. No measure of speed. */
const patience = 60_000;

export function answer(answerOpcode: number, payload: string | Buffer = ''): Answer {
  return { opcode: answerOpcode, payload: typeof payload === 'string' ? Buffer.from(payload) : payload };
}

/** Runs the cases against one server, several at a time, each on a connection of its own. */
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

/** Asserts that the server has logged no error and exits with 0. */
export async function assertUnharmed(server: ServerProcess): Promise<void> {
  assert.equal(await server.stop(), 0, `the server exits with 0; it logged: ${server.stderr()}`);
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

/** Asserts an unfragmented frame as a server sends it: not masked, no reserved bits. */
export function assertFrame(id: string, actual: RawFrame | undefined, due: Answer): void {
  if (actual === undefined) assert.fail(`${id}: the stream ended before the frame with opcode ${due.opcode}`);
  const { payload, ...header } = actual;
  assert.deepEqual(
    { ...header, length: payload.length },
    { fin: true, rsv: 0, opcode: due.opcode, isMasked: false, length: due.payload.length },
    `${id}: got ${show(actual)} instead of opcode ${due.opcode} with ${due.payload.length} bytes`,
  );
  assert.ok(payload.equals(due.payload), `${id}: got ${show(actual)} with a wrong payload`);
}

export function assertFailed(id: string, actual: RawFrame | undefined, code: number): void {
  if (actual === undefined) assert.fail(`${id}: the stream ended without a close frame`);
  const { fin, rsv, isMasked, payload } = actual;
  assert.equal(actual.opcode, opcode.close, `${id}: got ${show(actual)} instead of a close frame`);
  assert.deepEqual({ fin, rsv, isMasked }, { fin: true, rsv: 0, isMasked: false }, id);
  assert.equal(payload.readUInt16BE(0), code, `${id}: the close code`);
  // RFC 6455 does not require a reason, but this server gives one. `fatal` rejects anything but UTF-8.
  const reason = new TextDecoder('utf-8', { fatal: true }).decode(payload.subarray(2));
  assert.notEqual(reason, '', `${id}: the close frame gives a reason`);
}

/** Asserts that nothing follows, that the server ends TCP first, and that the connection closes without a reset. */
export async function assertEnd(id: string, client: RawClient): Promise<void> {
  assert.deepEqual((await client.remainingFrames()).map(show), [], `${id}: nothing follows the close frame`);
  assert.equal(await client.ended, 'FIN', `${id}: the server ends the TCP stream`);
  await client.end();
}

export function show({ fin, rsv, opcode: of, payload }: RawFrame): string {
  return `[opcode ${of} fin ${fin} rsv ${rsv} ${payload.length} bytes ${payload.toString('latin1', 0, 40)}]`;
}
