import type { BroadcastJob, Sample, Target } from '../jobs.ts';
import { type Connection, dialMany, expectBytes, fail, failOnSilence } from './dial.ts';
import { clientFrames, serverFrames } from './frames.ts';
import { measure } from './measure.ts';

export function loadBroadcast(target: Target, job: BroadcastJob): Promise<Sample> {
  return loadRounds(target, job.inFlight, () => dialMany(target, job.connections), {
    request: clientFrames(job.size, job.inFlight),
    delivery: serverFrames(job.size, job.inFlight),
  });
}

/** One round: the `inFlight` messages that the first connection sends, and the bytes that each connection must get. */
export interface Round {
  readonly request: Buffer;
  readonly delivery: Buffer;
}

/** The sender is also a recipient. The first round is compared byte by byte, later ones by their length. */
export async function loadRounds(
  target: Target,
  inFlight: number,
  open: () => Promise<Connection[]>,
  { request, delivery }: Round,
): Promise<Sample> {
  /** Bytes received since the first round by all connections, and the bytes expected from the rounds so far. */
  let received = 0;
  let due = 0;
  let dueEach = 0;
  failOnSilence(5, () =>
    due === 0 ? 'not everybody has the first round' : `${due - received} bytes of a round were still due`,
  );

  const connections = await open();
  const sender = connections[0]!.socket;
  const firstRound = connections.map(connection => expectBytes(connection, delivery));
  sender.write(request);
  await Promise.all(firstRound);

  const nextRound = () => {
    dueEach += delivery.length;
    due += delivery.length * connections.length;
    sender.write(request);
  };
  const keepCounting = (connection: Connection) => {
    let got = 0;
    connection.receive = length => {
      got += length;
      received += length;
      // No connection may get too much, so the sum is complete only if every connection has enough.
      if (got > dueEach) fail(new Error(`received ${got} bytes where ${dueEach} were due`));
      if (received === due) nextRound();
    };
  };
  connections.forEach(keepCounting);
  nextRound();
  return measure(target, () => (received / delivery.length) * inFlight);
}
