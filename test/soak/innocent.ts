/**
 * The process of the innocent clients: node innocent.js PORT... For each server one client sends a message every 10 ms,
 * even before the last echo, and another one connects every 250 ms, echoes once and leaves. The clients of all servers share
 * this process, so its own delays show in the figures of all servers.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { connectRaw, type RawClient } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { type Figures, figuresOf } from './figures.ts';

export interface InnocentReport {
  /** Of the echoes. */
  readonly echo: Figures;
  /** The number of messages without an echo. */
  readonly missing: number;
  /** How the server ended the connection, if it has. */
  readonly lost: string | undefined;
  /** From `connect` to the echo. */
  readonly newcomers: Figures;
  /** Reasons why new clients were not served, with counts. */
  readonly failures: Readonly<Record<string, number>>;
}

/** One for each port, in the order of the command line. */
export type InnocentReports = readonly InnocentReport[];

const echoEvery = 10;
const newcomerEvery = 250;
/** A new client that waits longer counts as not served. */
const patience = 10_000;

interface Innocent {
  readonly port: number;
  readonly echoes: number[];
  readonly newcomers: number[];
  readonly failures: Record<string, number>;
  /** The times at which messages without an echo were sent, by their texts. */
  readonly sentAt: Map<string, number>;
  lost: string | undefined;
}

async function echo(innocent: Innocent, client: RawClient): Promise<void> {
  const { sentAt, echoes } = innocent;
  // In the same event in which the bytes arrive, after the client's own listener.
  client.socket.on('data', () => {
    const now = performance.now();
    for (const { payload } of (client.pending as unknown[]).splice(0) as { payload: Buffer }[]) {
      const text = payload.toString();
      const sent = sentAt.get(text);
      // Other messages are broadcasts of commands.
      if (sent === undefined) continue;
      sentAt.delete(text);
      echoes.push(now - sent);
    }
  });
  client.ended.then(how => {
    innocent.lost = how;
  });
  let due = performance.now();
  for (let number = 0; innocent.lost === undefined && !isOver; number++) {
    const text = `innocent ${number}`;
    sentAt.set(text, performance.now());
    client.send(frame(opcode.text, text));
    due = Math.max(due + echoEvery, performance.now());
    await wait(due - performance.now());
  }
}

async function arrive({ port, newcomers, failures }: Innocent): Promise<void> {
  const from = performance.now();
  const fail = (why: string) => {
    failures[why] = (failures[why] ?? 0) + 1;
  };
  let client: RawClient | undefined;
  const visit = async () => {
    client = await connectRaw(port, { path: '/echo' });
    client.send(frame(opcode.text, 'newcomer'));
    for (let said = ''; said !== 'newcomer'; ) {
      const answer = await client.nextFrame();
      if (answer === undefined) throw new Error('it was ended before its echo');
      said = answer.payload.toString();
    }
    newcomers.push(performance.now() - from);
  };
  const overdue = wait(patience, undefined, { ref: false }).then(() => {
    throw new Error(`it was not served within ${patience / 1000} s`);
  });
  await Promise.race([visit(), overdue]).catch((error: Error) => fail(error.message));
  client?.destroy();
}

function reportOf({ echoes, sentAt, lost, newcomers, failures }: Innocent): InnocentReport {
  const now = performance.now();
  // Messages without an echo count with the time so far.
  const waiting = [...sentAt.values()].map(sent => now - sent);
  return {
    echo: figuresOf([...echoes, ...waiting]),
    missing: waiting.length,
    lost,
    newcomers: figuresOf(newcomers),
    failures,
  };
}

let isOver = false;
const innocents: Innocent[] = process.argv.slice(2).map(port => ({
  port: Number(port),
  echoes: [],
  newcomers: [],
  failures: {},
  sentAt: new Map(),
  lost: undefined,
}));
const clients = await Promise.all(innocents.map(({ port }) => connectRaw(port, { path: '/echo' })));
innocents.forEach((innocent, index) => {
  echo(innocent, clients[index]!);
});
const arriving = setInterval(() => innocents.forEach(arrive), newcomerEvery);

process.on('message', word => {
  if (word === 'stop') {
    isOver = true;
    clearInterval(arriving);
  }
  process.send?.(innocents.map(reportOf));
  if (word === 'stop') process.disconnect();
});
process.once('disconnect', () => process.exit());
process.send?.('ready');
