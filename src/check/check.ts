/**
 * `pollywog check URL` connects as a browser does, through the proxy: DNS, TCP, TLS, the upgrade, compression, event streams,
 * polls, and silence. It names each fault and the line of the proxy's configuration that repairs it.
 */
import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { connect, isIP } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import { printableLine } from '../log/printable.ts';
import { UsageError } from '../options/error.ts';
import { type Fault, fixes } from './fixes.ts';
import { type Answer, ask, type CheckTarget, type OpenSocket, trustOf, upgrade } from './probes.ts';

export interface CheckSettings {
  /** Allows the check to publish a message. */
  readonly token: string | undefined;
  /** Trusted CA certificates in PEM; empty: those of the system. */
  readonly authorities: readonly Buffer[];
  /** Milliseconds of silence; 0 skips that step. */
  readonly silence: number;
  /** Milliseconds to wait for an answer. */
  readonly timeout: number;
}

/** The result of one step. `ok` and `note` are good; `fixes` has the lines that repair a fault. */
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

/**
 * @param raw as the user wrote it: http, https, ws or wss
 * @returns the URL without the path of a channel
 * @throws UsageError
 */
export function readCheckUrl(raw: string): string {
  const url = URL.canParse(raw) ? new URL(raw) : undefined;
  const scheme = /^(?:ws|http)(s?):$/.exec(url?.protocol ?? '');
  if (url === undefined || scheme === null)
    throw new UsageError(`check needs the URL of a site, such as https://example.com/, not "${raw}"`);
  return `http${scheme[1]}://${url.host}${url.pathname.replace(/(?:\/channels(?:\/.*)?|\/+)$/, '')}`;
}

/** Runs the steps in order, and stops if no later step can succeed. */
export async function* runCheck(base: string, settings: CheckSettings): AsyncGenerator<Finding> {
  const target: CheckTarget = {
    base,
    token: settings.token,
    authorities: settings.authorities,
    isTrusted: true,
    timeout: settings.timeout,
    socketPath: '/echo',
  };
  const channel = `pollywog-check-${randomBytes(6).toString('hex')}`;
  const needed: Step[] = [checkName, checkTcp, checkTls, () => checkServer(target, channel)];
  const further: Step[] = [
    checkUpgrade,
    () => checkEvents(target, channel),
    () => checkPoll(target, channel),
    () => checkSilence(target, settings.silence),
  ];
  for (const step of [...needed, ...further]) {
    const findings = await runStep(step, target);
    if (findings.some(isBadCertificate)) target.isTrusted = false;
    yield* findings;
    if (needed.includes(step) && findings.some(isFatal)) return;
  }
}

function isBadCertificate({ step, result }: Finding): boolean {
  return result === 'wrong' && step === 'certificate';
}

/** The check ignores a bad certificate, and goes on. */
function isFatal(finding: Finding): boolean {
  return finding.result === 'wrong' && !isBadCertificate(finding);
}

type Step = (target: CheckTarget) => Promise<readonly Finding[]>;

async function runStep(step: Step, target: CheckTarget): Promise<readonly Finding[]> {
  try {
    return await step(target);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'ECONNRESET' ? 'it was cut off before an answer' : message;
    return [wrong('connection', `the connection failed: ${why}`, 'backend')];
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
    return [wrong('dns', `${host} has no address; add an A or AAAA record, or correct the name`)];
  }
}

async function checkTcp(target: CheckTarget): Promise<readonly Finding[]> {
  const { host, port } = placeOf(target);
  const error = await new Promise<NodeJS.ErrnoException | undefined>(resolve => {
    const socket = connect({ host, port, timeout: target.timeout });
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
      ...trustOf(target),
      timeout: target.timeout,
      ...(isIP(host) === 0 ? { servername: host } : {}),
    });
    const settle = (finding: Finding) => {
      socket.destroy();
      resolve([finding]);
    };
    socket.once('timeout', () => settle(wrong('tls', 'no answer to the TLS handshake', 'certificate')));
    socket.once('error', error => settle(wrong('tls', explainTls(error), 'certificate')));
    socket.once('secureConnect', () => {
      const end = new Date(socket.getPeerCertificate().valid_to);
      const days = Math.floor((end.getTime() - Date.now()) / day);
      const why = socket.authorizationError as unknown as Error | string | null | undefined;
      const date = Number.isNaN(days) ? '' : end.toISOString().slice(0, 10);
      if (days < 0) settle(wrong('certificate', `the certificate expired on ${date}`, 'certificate'));
      else if (!socket.authorized)
        settle(
          wrong('certificate', `browsers refuse the certificate: ${why ?? 'not trusted'}`, 'certificate'),
        );
      else if (days < 14)
        settle(
          note(
            'certificate',
            `the certificate expires in ${days} ${days === 1 ? 'day' : 'days'}, on ${date}`,
          ),
        );
      else settle(ok('tls', `${socket.getProtocol()}; the certificate is valid until ${date}`));
    });
  });
}

/** OpenSSL's messages contain addresses and source lines. */
function explainTls(error: NodeJS.ErrnoException & { reason?: string }): string {
  const { code, reason } = error;
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG')
    return 'the port does not speak TLS; try http:// or another port';
  if (code === 'ECONNRESET') return 'the TLS handshake was cut off';
  return `the TLS handshake failed: ${reason ?? error.message}`;
}

/** Finds out if a Pollywog answers under this path. */
async function checkServer(target: CheckTarget, channel: string): Promise<readonly Finding[]> {
  const answer = await ask(target, '/healthz');
  if (answer === undefined) return [wrong('server', 'no answer to GET /healthz', 'backend')];
  const { status, body } = answer;
  if (status === 200 && body === 'ok\n') return [ok('server', 'a Pollywog answers')];
  if (status >= 502 && status <= 504) {
    const what = `the proxy answers ${status}, because it does not reach the server`;
    return [wrong('server', `${what}; start the server, or correct the port in the proxy`, 'backend')];
  }
  if (isChannelsRefusal(await ask(target, `/channels/${channel}?after=x`))) {
    target.socketPath = `/channels/${channel}?format=json`;
    return explainChannelsOnly(target);
  }
  if (status >= 300 && status < 400) {
    const where = answer.headers.location ?? 'another URL';
    return [wrong('server', `redirect to ${where}; WebSockets do not follow redirects, so check that URL`)];
  }
  const { pathname } = new URL(`${target.base}/healthz`);
  const what = `another server answers GET ${pathname}, with status ${status}`;
  if (pathname === '/healthz') return [wrong('server', `${what}; correct the port in the proxy`, 'backend')];
  return [wrong('server', `${what}; the proxy must remove the prefix from the path`, 'path')];
}

/** Recognizes the refusal of an invalid id, or of this origin. The server checks both before any rule of access. */
function isChannelsRefusal(answer: Answer | undefined): boolean {
  return /not the id of a message|pages of this origin may not connect/.test(answer?.body ?? '');
}

/** The proxy passes on only some paths to Pollywog; the rest of the site is another server's. */
async function explainChannelsOnly(target: CheckTarget): Promise<readonly Finding[]> {
  const findings = [ok('server', 'Pollywog answers under /channels')];
  const library = await ask(target, '/pollywog.js');
  if (library?.status !== 200)
    findings.push(note('library', 'the proxy does not pass on /pollywog.js, so pages cannot import it'));
  return findings;
}

async function checkUpgrade(target: CheckTarget): Promise<readonly Finding[]> {
  const socket = await upgrade(target, target.socketPath, true);
  if (socket === undefined) return [wrong('upgrade', 'no answer to the WebSocket handshake', 'upgrade')];
  if (!('send' in socket)) return [explainRefused(socket)];
  const findings = [ok('upgrade', 'a WebSocket opens')];
  const extensions = String(socket.headers['sec-websocket-extensions'] ?? '');
  findings.push(
    extensions.includes('permessage-deflate')
      ? ok('compression', 'messages are compressed (permessage-deflate)')
      : note(
          'compression',
          'off: the server has --compress off, or the proxy removes Sec-WebSocket-Extensions',
        ),
  );
  findings.push(await checkEcho(socket, target));
  socket.destroy();
  return findings;
}

function explainRefused({ status, body }: Answer): Finding {
  const said = body.split('\n', 1)[0]!.slice(0, 200);
  if (status === 505)
    return wrong(
      'upgrade',
      'the proxy speaks HTTP/1.0 to the server, and WebSockets need HTTP/1.1',
      'http10',
    );
  if (status === 426 || status === 200)
    return wrong('upgrade', 'the proxy removes the header field Upgrade', 'upgrade');
  if (status === 400) return wrong('upgrade', `the proxy changes the handshake: ${said}`, 'upgrade');
  if (status === 401) return note('upgrade', 'the server wants a token, so WebSockets get through');
  if (status === 403 && /origin/i.test(said)) {
    const what = `the server refuses pages of this site: ${said}`;
    return wrong('upgrade', `${what}; with --origin same, the proxy must keep the Host`, 'host');
  }
  if (status === 403) return note('upgrade', `the server wants a user, so WebSockets get through: ${said}`);
  return wrong('upgrade', `the WebSocket handshake got status ${status}: ${said}`, 'upgrade');
}

async function checkEcho(socket: OpenSocket, { timeout, socketPath }: CheckTarget): Promise<Finding> {
  socket.send(1, Buffer.from('{"unsubscribe":"pollywog-check"}'));
  let frame = await socket.next(timeout);
  // The first message of a channel is its position.
  const isPosition = socketPath !== '/echo' && frame !== undefined && frame !== 'lost' && frame.opcode !== 8;
  if (isPosition) frame = await socket.next(timeout);
  if (frame === undefined)
    return wrong('echo', 'the WebSocket is open, but no message comes back', 'buffering');
  if (frame === 'lost')
    return wrong('echo', 'the WebSocket was cut off before a message came back', 'silence');
  if (frame.opcode !== 8) return ok('echo', 'a message comes back');
  return note('echo', `the server closed the WebSocket${closeCodeOf(frame.payload)}, so frames get through`);
}

/** RFC 6455 §5.5.1: a close frame may be empty. */
function closeCodeOf(payload: Buffer): string {
  return payload.length < 2 ? '' : ` with ${payload.readUInt16BE()}`;
}

/** The head of an event stream must arrive before its first event, and each event before the next. */
async function checkEvents(target: CheckTarget, channel: string): Promise<readonly Finding[]> {
  const path = `/channels/${channel}`;
  const headers = { Accept: 'text/event-stream' };
  const isRunning = (body: string) => body.includes('\n\n');
  const first = await ask(target, path, { headers, isEnough: isRunning });
  if (first?.status === 401 || first?.status === 403)
    return [note('events', 'the server wants a user or a token, so event streams get through')];
  if (first === undefined || (first.status === 200 && !isRunning(first.body)))
    return [wrong('events', 'the proxy holds back the events of a stream', 'buffering')];
  if (first.status !== 200) return [wrong('events', `the event stream got status ${first.status}`, 'path')];
  const findings = [ok('events', 'an event stream starts at once')];
  if (target.token !== undefined)
    findings.push(target.isTrusted ? await checkPublishing(target, path) : untrusted);
  return findings;
}

const untrusted = note(
  'publish',
  'the token was not sent, because anyone may have this certificate; --ca FILE trusts its authority',
);

async function checkPublishing(target: CheckTarget, path: string): Promise<Finding> {
  const text = `check ${randomBytes(4).toString('hex')}`;
  let answer: Promise<Answer | undefined> | undefined;
  const publish = () => {
    const headers = { Authorization: `Bearer ${target.token}`, 'Content-Type': 'text/plain' };
    answer ??= ask(target, path, { method: 'POST', headers, body: text });
    // Its error is thrown below, when the stream has ended.
    answer.catch(() => {});
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
      published === undefined
        ? 'no answer to the POST that publishes a message'
        : `the message was not published: ${published.status} ${published.body.trim()}`,
    );
  return stream?.body.includes(text)
    ? ok('publish', 'a published message arrives')
    : wrong('publish', 'the server published the message, but it did not arrive', 'buffering');
}

async function checkPoll(target: CheckTarget, channel: string): Promise<readonly Finding[]> {
  const answer = await ask(target, `/channels/${channel}?last=0`);
  if (answer?.status === 401 || answer?.status === 403) return [];
  if (answer?.status === 200 && answer.body.startsWith('{')) return [ok('poll', 'a poll is answered')];
  return [
    wrong(
      'poll',
      answer === undefined ? 'no answer to a poll' : `the poll got status ${answer.status}`,
      'path',
    ),
  ];
}

/** A WebSocket without messages must stay open: only the pings of the server keep it. */
async function checkSilence(target: CheckTarget, silence: number): Promise<readonly Finding[]> {
  if (silence === 0) return [];
  const socket = await upgrade(target, target.socketPath, false);
  if (socket === undefined || !('send' in socket)) return [];
  const begun = performance.now();
  const elapsed = () => performance.now() - begun;
  let frame = await socket.next(silence);
  // A broadcast of the server is not its end.
  while (frame !== undefined && frame !== 'lost' && frame.opcode !== 8)
    frame = await socket.next(silence - elapsed());
  socket.destroy();
  const seconds = Math.round(elapsed() / 1000);
  if (frame === undefined) return [ok('silence', `a WebSocket without messages stays open for ${seconds} s`)];
  if (frame !== 'lost')
    return [
      note('silence', `the server closed the WebSocket${closeCodeOf(frame.payload)} after ${seconds} s`),
    ];
  return [wrong('silence', `the proxy cuts off a WebSocket after ${seconds} s without a message`, 'silence')];
}

/** The lines of a finding, for people. */
export function formatFinding({ step, result, sentence, fault }: Finding): string {
  const mark = { ok: 'ok   ', note: 'note ', wrong: 'WRONG' }[result];
  // The sentence may quote the other server.
  const lines = [`${mark} ${step.padEnd(11)} ${printableLine(sentence)}`];
  if (fault !== undefined)
    for (const [proxy, fix] of Object.entries(fixes[fault]))
      for (const [at, line] of fix.split('\n').entries())
        lines.push(`      ${(at === 0 ? proxy : '').padEnd(11)} ${line}`);
  return lines.join('\n');
}
