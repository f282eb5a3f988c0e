/** A channel: messages are published over HTTP, one at a time, and every subscriber gets each of them. */
import { setTimeout as wait } from 'node:timers/promises';
import { residentKiB } from '../cost.ts';
import { type ChannelJob, publishToken, type Sample, type Target } from '../jobs.ts';
import { type Connection, dial, dialMany, eventStream, fail, failOnSilence, webSocket } from './dial.ts';
import { textFrame } from './frames.ts';
import { measure } from './measure.ts';

const path = '/channels/bench';

/** The last character of a message. Servers send it nowhere else. */
const mark = '~';
const markByte = mark.charCodeAt(0);

export async function loadChannel(target: Target, job: ChannelJob): Promise<Sample> {
  const memoryBefore = residentKiB(target.pid);
  const from = performance.now();
  const callOff = failOnSilence(5, () => 'while the subscribers connected');
  const isWebSocket = job.transport === 'websocket';
  const opening = isWebSocket ? webSocket(path) : eventStream(path);
  const subscribers = await dialMany(target, job.subscribers, opening);
  callOff();
  if (job.figure === 'memory') {
    const perSecond = job.subscribers / ((performance.now() - from) / 1000);
    await wait(target.seconds * 1000);
    return { figure: (residentKiB(target.pid) - memoryBefore) / job.subscribers, perSecond, cores: 0 };
  }
  const text = `${'a'.repeat(job.size - 1)}${mark}`;
  const delivery = isWebSocket ? textFrame(text) : Buffer.from(`data: ${text}`);
  const rounds = await startRounds(target, subscribers, text, delivery);
  const sample = await measure(target, () => rounds.deliveries);
  if (job.figure === 'cpu') return sample;
  const since = performance.now() - target.seconds * 1000;
  const times = rounds.times.filter(({ at }) => at >= since).map(({ milliseconds }) => milliseconds);
  return { ...sample, figure: quantile(times, 0.99) };
}

interface Rounds {
  deliveries: number;
  /** From each publish to the last delivery. */
  readonly times: { readonly at: number; readonly milliseconds: number }[];
}

/**
 * A round is over when every subscriber has the message and the publisher has its answer. The first delivery to each subscriber
 * is compared with the expected bytes, later ones are counted by the mark.
 */
async function startRounds(
  target: Target,
  subscribers: readonly Connection[],
  text: string,
  delivery: Buffer,
): Promise<Rounds> {
  const rounds: Rounds = { deliveries: 0, times: [] };
  const publisher = await newPublisher(target, text);
  let due = 0;
  let published = 0;
  let isAnswered = false;
  failOnSilence(5, () => `${due - rounds.deliveries} deliveries of a round were still due`);

  const nextRound = () => {
    due += subscribers.length;
    isAnswered = false;
    published = performance.now();
    publisher.publish(() => {
      isAnswered = true;
      endRound();
    });
  };
  const endRound = () => {
    if (isAnswered && rounds.deliveries === due) nextRound();
  };
  const keepCounting = (subscriber: Connection) => {
    let got = 0;
    let first = Buffer.alloc(0);
    subscriber.receive = (length, bytes) => {
      if (got === 0) first = Buffer.concat([first, bytes.subarray(0, length)]);
      const before = got;
      for (let at = 0; at < length; at++) if (bytes[at] === markByte) got++;
      if (got === before) return;
      if (before === 0 && !first.includes(delivery))
        fail(new Error(`the first delivery is ${JSON.stringify(first.toString('latin1'))}`));
      if (got * subscribers.length > due)
        fail(new Error('a subscriber has more messages than were published'));
      rounds.deliveries += got - before;
      if (rounds.deliveries < due) return;
      const at = performance.now();
      rounds.times.push({ at, milliseconds: at - published });
      endRound();
    };
  };
  subscribers.forEach(keepCounting);
  nextRound();
  return rounds;
}

interface Publisher {
  /** Publishes the message once more, after the answer to the last one. */
  publish(onAnswer: () => void): void;
}

/** A publisher that keeps its connection. */
async function newPublisher(target: Target, text: string): Promise<Publisher> {
  const connection = await dial({ ...target, raw: true });
  const request = Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${publishToken}\r\n` +
      `Content-Type: text/plain\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
  );
  return {
    publish(onAnswer) {
      let answer = '';
      connection.receive = (length, bytes) => {
        answer += Buffer.from(bytes.buffer, bytes.byteOffset, length).toString('latin1');
        const end = answer.indexOf('\r\n\r\n') + 4;
        if (end < 4) return;
        if (!/^HTTP\/1\.1 20[0-9] /.test(answer)) fail(new Error(`a publish was refused: ${answer}`));
        const [, size = '0'] = /^content-length: *(\d+)\r$/im.exec(answer) ?? [];
        if (answer.length === end + Number(size)) onAnswer();
      };
      connection.socket.write(request);
    },
  };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
