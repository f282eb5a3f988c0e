import type { EchoJob, Sample, Target } from '../jobs.ts';
import { type Connection, dialMany, expectBytes, fail, failOnSilence } from './dial.ts';
import { clientFrames, serverFrames } from './frames.ts';
import { measure } from './measure.ts';

/** The first answer of each connection is compared byte by byte, later ones by their length. */
export async function loadEcho(target: Target, job: EchoJob): Promise<Sample> {
  const request = clientFrames(job.size, job.inFlight);
  const answer = target.raw ? request : serverFrames(job.size, job.inFlight);
  let batches = 0;
  failOnSilence(5, () => `${batches} batches were answered before`);

  const connections = await dialMany(target, job.connections);
  const firstAnswers = connections.map(connection => expectBytes(connection, answer));
  for (const { socket } of connections) socket.write(request);
  await Promise.all(firstAnswers);

  const keepAsking = (connection: Connection) => {
    let got = 0;
    connection.receive = length => {
      got += length;
      if (got < answer.length) return;
      if (got > answer.length) fail(new Error(`received ${got} bytes where ${answer.length} were due`));
      got = 0;
      batches++;
      connection.socket.write(request);
    };
    connection.socket.write(request);
  };
  connections.forEach(keepAsking);
  return measure(target, () => batches * job.inFlight);
}
