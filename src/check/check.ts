/**
 * `pollywog check URL`: takes the way of a browser to a server, from outside: DNS, TCP, TLS, the upgrade through the proxy,
 * compression, event streams, polls, and silence. It says what is wrong, and which line of the proxy puts it right.
 */
import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { connect, isIP } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import { UsageError } from '../options/error.ts';
import { type Fault, fixes } from './fixes.ts';
import { type Answer, ask, type CheckTarget, type OpenSocket, upgrade } from './probes.ts';

export interface CheckSettings {
  /** Publishes a message, if it is given. */
  readonly token: string | undefined;
  /** Milliseconds of silence; 0 skips that step. */
  readonly silence: number;
  /** Milliseconds to wait for an answer. */
  readonly patience: number;
}

/** What a step found. `ok` and `note` are good; with a fault, lines of proxies put it right. */
export interface Finding {
  readonly step: string;
  readonly result: 'ok' | 'note' | 'wrong';
  readonly sentence: string;
  readonly fault?: Fault;
}

const ok = (step: string, sentence: string): Finding => ({ step, result: 'ok', sentence });
const note = (step: string, sentence: string): Finding => ({ step, result: 'note', sentence });
const wrong = (step: string, sentence: string, fault?: Fault): Finding => ({
  step,
  result: 'wrong',
  sentence,
  ...(fault === undefined ? {} : { fault }),
});

/** @param raw as the user wrote it: http, https, ws or wss @throws UsageError */
export function readCheckUrl(raw: string): string {
  const url = URL.canParse(raw) ? new URL(raw) : undefined;
  const scheme = /^(?:ws|http)(s?):$/.exec(url?.protocol ?? '');
  if (url === undefined || scheme === null)
    throw new UsageError(`check needs the URL of a site, such as https://example.com/, not "${raw}"`);
  return `http${scheme[1]}://${url.host}${url.pathname.replace(/\/+$/, '')}`;
}

/** Runs the steps in order. After one without which the others cannot work, it stops. */
export async function* runCheck(base: string, settings: CheckSettings): AsyncGenerator<Finding> {
  const target: CheckTarget = { base, token: settings.token, patience: settings.patience };
  for (const step of [checkName, checkTcp, checkTls, checkServer, checkUpgrade]) {
    let isOver = false;
    for (const finding of await guarded(step, target)) {
      yield finding;
      isOver ||= finding.result === 'wrong' && finding.step !== 'tls';
    }
    if (isOver) return;
  }
  const channel = `pollywog-check-${randomBytes(6).toString('hex')}`;
  for (const finding of await guarded(() => checkEvents(target, channel), target)) yield finding;
  for (const finding of await guarded(() => checkPoll(target, channel), target)) yield finding;
  if (settings.silence > 0)
    for (const finding of await guarded(() => checkSilence(target, settings.silence), target)) yield finding;
}

type Step = (target: CheckTarget) => Promise<readonly Finding[]>;

/** A step whose connection fails has found something wrong. */
async function guarded(step: Step, target: CheckTarget): Promise<readonly Finding[]> {
  try {
    return await step(target);
  } catch (error) {
    return [wrong('connection', `the connection failed: ${(error as Error).message}`, 'backend')];
  }
}

function placeOf({ base }: CheckTarget) {
  const { hostname, port, protocol } = new URL(base);
  const isSecure = protocol === 'https:';
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || (isSecure ? 443 : 80)),
    isSecure,
  };
}

async function checkName(target: CheckTarget): Promise<readonly Finding[]> {
  const { host } = placeOf(target);
  if (isIP(host) !== 0) return [];
  try {
    const found = await lookup(host, { all: true });
    return [ok('dns', `${host} is ${found.map(({ address }) => address).join(', ')}`)];
  } catch {
    return [wrong('dns', `no address is known for ${host}; add an A or AAAA record, or correct the name`)];
  }
}

async function checkTcp(target: CheckTarget): Promise<readonly Finding[]> {
  const { host, port } = placeOf(target);
  const error = await new Promise<NodeJS.ErrnoException | undefined>(resolve => {
    const socket = connect({ host, port, timeout: target.patience });
    const settle = (result: Error | undefined) => {
      socket.destroy();
      resolve(result);
    };
    socket.once('connect', () => settle(undefined)).once('error', settle);
    socket.once('timeout', () => settle(new Error('no answer')));
  });
  if (error === undefined) return [ok('tcp', `port ${port} of ${host} accepts connections`)];
  const why =
    error.code === 'ECONNREFUSED'
      ? 'nothing listens there; start the proxy, or correct the port'
      : `${error.message || error.code}; is a firewall in between?`;
  return [wrong('tcp', `no connection to port ${port} of ${host}: ${why}`)];
}

const day = 86_400_000;

async function checkTls(target: CheckTarget): Promise<readonly Finding[]> {
  const { host, port, isSecure } = placeOf(target);
  if (!isSecure) return [note('tls', 'plain HTTP: pages on https:// cannot use this URL')];
  return new Promise(resolve => {
    const socket = connectSecurely({
      host,
      port,
      rejectUnauthorized: false,
      timeout: target.patience,
      ...(isIP(host) === 0 ? { servername: host } : {}),
    });
    const settle = (finding: Finding) => {
      socket.destroy();
      resolve([finding]);
    };
    socket.once('timeout', () => settle(wrong('tls', 'the TLS handshake was not answered', 'certificate')));
    socket.once('error', error => settle(wrong('tls', `no TLS: ${error.message}`, 'certificate')));
    socket.once('secureConnect', () => {
      const end = new Date(socket.getPeerCertificate().valid_to);
      const days = Math.floor((end.getTime() - Date.now()) / day);
      const why = socket.authorizationError as unknown as Error | string | null | undefined;
      const date = Number.isNaN(days) ? '' : end.toISOString().slice(0, 10);
      if (days < 0) settle(wrong('tls', `the certificate expired on ${date}`, 'certificate'));
      else if (!socket.authorized)
        settle(wrong('tls', `browsers refuse the certificate: ${why ?? 'not trusted'}`, 'certificate'));
      else if (days < 14) settle(note('tls', `the certificate expires in ${days} days, on ${date}`));
      else settle(ok('tls', `${socket.getProtocol()}, the certificate is good until ${date}`));
    });
  });
}

/** Whether the path leads to a server of ours. */
async function checkServer(target: CheckTarget): Promise<readonly Finding[]> {
  const answer = await ask(target, '/healthz');
  if (answer === undefined) return [wrong('server', 'no answer to GET /healthz', 'backend')];
  const { status, body } = answer;
  if (status === 200 && body === 'ok\n') return [ok('server', 'the path leads to a Pollywog')];
  if (status >= 502 && status <= 504) {
    const what = `the proxy answers ${status}: it does not reach the server`;
    return [wrong('server', `${what}; is it running, and on the port that the proxy uses?`, 'backend')];
  }
  if (status >= 300 && status < 400) {
    const what = `it redirects to ${answer.headers.location ?? 'another URL'}`;
    return [wrong('server', `${what}; a WebSocket does not follow redirects, so check that URL`)];
  }
  const what = `GET /healthz is answered with ${status}, and not by a Pollywog`;
  return [wrong('server', `${what}: the path is lost, or leads to another server`, 'path')];
}

async function checkUpgrade(target: CheckTarget): Promise<readonly Finding[]> {
  const socket = await upgrade(target, '/echo', true);
  if (socket === undefined) return [wrong('upgrade', 'no answer to the handshake of a WebSocket', 'upgrade')];
  if (!('send' in socket)) return [explainRefused(socket)];
  const findings = [ok('upgrade', 'a WebSocket opens through the proxy')];
  const extensions = String(socket.headers['sec-websocket-extensions'] ?? '');
  findings.push(
    extensions.includes('permessage-deflate')
      ? ok('compression', 'permessage-deflate is agreed on')
      : note('compression', 'off: by --compress off, or a proxy removes Sec-WebSocket-Extensions'),
  );
  findings.push(await checkEcho(socket, target));
  socket.destroy();
  return findings;
}

function explainRefused({ status, body }: Answer): Finding {
  const said = body.split('\n', 1)[0]!.slice(0, 200);
  if (status === 505)
    return wrong('upgrade', 'the proxy speaks HTTP/1.0 to the server, which has no upgrades', 'http10');
  if (status === 426 || status === 200)
    return wrong('upgrade', 'the proxy does not pass the header field Upgrade on', 'upgrade');
  if (status === 400)
    return wrong('upgrade', `the proxy does not pass the handshake on as it is: ${said}`, 'upgrade');
  if (status === 401) return note('upgrade', 'the server asks for a token: the way is open');
  if (status === 403 && /origin/i.test(said)) {
    const what = `the server does not admit this origin: ${said}`;
    return wrong('upgrade', `${what}; if --origin is same, the proxy replaces the Host`, 'host');
  }
  if (status === 403) return note('upgrade', `the server refuses strangers here: ${said}`);
  return wrong('upgrade', `the handshake is answered with ${status}: ${said}`, 'upgrade');
}

async function checkEcho(socket: OpenSocket, { patience }: CheckTarget): Promise<Finding> {
  socket.send(1, Buffer.from('pollywog check'));
  const frame = await socket.next(patience);
  if (frame === undefined)
    return wrong('echo', 'the WebSocket is open, but no message comes back', 'buffering');
  if (frame === 'lost') return wrong('echo', 'the WebSocket ended at once', 'timeout');
  if (frame.opcode !== 8) return ok('echo', 'a message comes back');
  return note('echo', `the server closed with ${frame.payload.readUInt16BE()}: the way is open`);
}

/** An event stream must begin at once, and a published message arrive without the next one. */
async function checkEvents(target: CheckTarget, channel: string): Promise<readonly Finding[]> {
  const path = `/channels/${channel}`;
  const headers = { Accept: 'text/event-stream' };
  const isRunning = (body: string) => body.includes('\n\n');
  const first = await ask(target, path, { headers, isEnough: isRunning });
  if (first?.status === 401 || first?.status === 403)
    return [note('events', 'the server refuses strangers here: the way is open')];
  if (first === undefined || (first.status === 200 && !isRunning(first.body)))
    return [wrong('events', 'an event stream opens, but its events are held back', 'buffering')];
  if (first.status !== 200)
    return [wrong('events', `an event stream is answered with ${first.status}`, 'path')];
  const findings = [ok('events', 'an event stream begins at once')];
  if (target.token !== undefined) findings.push(await checkPublishing(target, path));
  return findings;
}

async function checkPublishing(target: CheckTarget, path: string): Promise<Finding> {
  const text = `check ${randomBytes(4).toString('hex')}`;
  let answer: Promise<Answer | undefined> | undefined;
  const publish = () => {
    const headers = { Authorization: `Bearer ${target.token}`, 'Content-Type': 'text/plain' };
    answer ??= ask(target, path, { method: 'POST', headers, body: text });
  };
  const stream = await ask(target, path, {
    headers: { Accept: 'text/event-stream' },
    isEnough(body) {
      if (body.includes('\n\n')) publish();
      return body.includes(text);
    },
  });
  const published = await answer;
  if (published?.status !== 200)
    return wrong(
      'publish',
      `the message was not published: ${published?.status} ${published?.body ?? ''}`.trim(),
    );
  return stream?.body.includes(text)
    ? ok('publish', 'a published message arrives')
    : wrong('publish', 'the message was published, but did not arrive', 'buffering');
}

async function checkPoll(target: CheckTarget, channel: string): Promise<readonly Finding[]> {
  const answer = await ask(target, `/channels/${channel}?last=0`);
  if (answer?.status === 401 || answer?.status === 403) return [];
  if (answer?.status === 200 && answer.body.startsWith('{')) return [ok('poll', 'a poll is answered')];
  return [wrong('poll', `a poll is answered with ${answer?.status ?? 'nothing'}`, 'path')];
}

/** A WebSocket on which nothing is said must stay open: the server's pings are all that keeps it. */
async function checkSilence(target: CheckTarget, silence: number): Promise<readonly Finding[]> {
  const socket = await upgrade(target, '/echo', false);
  if (socket === undefined || !('send' in socket)) return [];
  const begun = performance.now();
  const frame = await socket.next(silence);
  socket.destroy();
  const seconds = Math.round((performance.now() - begun) / 1000);
  if (frame === undefined) return [ok('silence', `a WebSocket stays open through ${seconds} s of silence`)];
  if (frame !== 'lost') return [note('silence', 'the server closed the silent WebSocket')];
  return [
    wrong('silence', `a silent WebSocket is cut off after ${seconds} s: a time-out of the proxy`, 'silence'),
  ];
}

/** The lines of a finding, for people. */
export function formatFinding({ step, result, sentence, fault }: Finding): string {
  const mark = { ok: 'ok   ', note: 'note ', wrong: 'WRONG' }[result];
  const lines = [`${mark} ${step.padEnd(11)} ${sentence}`];
  if (fault !== undefined)
    for (const [proxy, fix] of Object.entries(fixes[fault])) lines.push(`        ${proxy.padEnd(7)} ${fix}`);
  return lines.join('\n');
}
