/** Random opening handshakes of both sides, valid and mutated. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { ProtocolError } from '../../src/protocol/codes.ts';
import { parseRequestHead, parseResponseHead } from '../../src/protocol/http/head.ts';
import {
  finishHandshake,
  type HandshakeRequest,
  startHandshake,
} from '../../src/protocol/websocket/clientHandshake.ts';
import type { Compression } from '../../src/protocol/websocket/extensions.ts';
import {
  acceptHandshake,
  asksForWebSocket,
  type HandshakePolicy,
} from '../../src/protocol/websocket/handshake.ts';
import type { Random } from '../support/random.ts';
import { mutate } from './sessions.ts';

const maxHeader = 2048;
const subprotocols = ['chat', 'tpacket', 'v1.echo'];
const compressions: readonly Compression[] = ['off', 'on', 'takeover'];

type Outcome<Value> = { value: Value } | { refused: number } | 'incomplete';

/** @returns the value or the code of the ProtocolError. Any other error is a finding */
function outcome<Value>(run: () => Value | undefined): Outcome<Value> {
  try {
    const value = run();
    return value === undefined ? 'incomplete' : { value };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { refused: error.code };
  }
}

type Parse<Parsed> = (
  bytes: Uint8Array,
  start: number,
  end: number,
  maxHeader: number,
  seen?: number,
) => Parsed | undefined;

/** Parses a head that arrives in pieces, up to each of `cuts` and then to its end. */
function readHead<Parsed>(parse: Parse<Parsed>, bytes: Buffer, cuts: readonly number[]): Outcome<Parsed> {
  let seen = 0;
  let read: Outcome<Parsed> = 'incomplete';
  for (const end of [...cuts, bytes.length]) {
    read = outcome(() => parse(bytes, 0, end, maxHeader, seen));
    if (read !== 'incomplete') return read;
    seen = end;
  }
  return read;
}

/** @returns the outcome, which must not depend on the cuts, except for which of two faults is found first */
function readAnyhow<Parsed>(random: Random, parse: Parse<Parsed>, bytes: Buffer): Outcome<Parsed> {
  const whole = readHead(parse, bytes, []);
  const someCuts = Array.from({ length: 6 }, () => random.below(bytes.length + 1)).sort((a, b) => a - b);
  const everyCut = Array.from(bytes.keys());
  for (const cuts of [someCuts, everyCut]) {
    const inPieces = readHead(parse, bytes, cuts);
    if (typeof whole === 'object' && 'refused' in whole) {
      assert.ok(typeof inPieces === 'object' && 'refused' in inPieces, 'refused whole, and not in pieces');
    } else {
      assert.deepEqual(inPieces, whole);
    }
  }
  return whole;
}

/** One handshake that must succeed, then what is left of it with its bytes changed. */
export function fuzzHandshake(random: Random): void {
  const wanted = subprotocols.filter(() => random.oneIn(2));
  const request: HandshakeRequest = {
    host: random.pick(['localhost', 'example.com:8080', '[::1]:80']),
    path: random.pick(['/', '/chat?room=1&x=%20', '/a/b/c']),
    subprotocols: wanted,
    headers: random.oneIn(2) ? { Cookie: 'a=b; c=d', 'X-Long': 'x'.repeat(random.below(900)) } : {},
    origin: random.oneIn(2) ? 'https://example.com' : undefined,
    compression: random.pick(compressions),
  };
  const nonce = random.bytes(16);
  const policy: HandshakePolicy = {
    subprotocols: new Set(subprotocols.slice(random.below(4))),
    origins: random.oneIn(2) ? ['*.com', 'https://example.com'] : [],
    compression: random.pick(compressions),
  };

  const sent = disguise(random, startHandshake(request, nonce));
  const read = readAnyhow(random, parseRequestHead, sent);
  assert.ok(typeof read === 'object' && 'value' in read, 'a valid handshake is read');
  assert.equal(read.value.end, sent.length);
  assert.ok(asksForWebSocket(read.value.head));
  const accepted = acceptHandshake(read.value.head, policy);
  assert.equal(
    accepted.subprotocol,
    wanted.find(name => policy.subprotocols.has(name)),
  );
  const key = `${nonce.toString('base64')}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
  const accept = createHash('sha1').update(key).digest('base64');
  assert.ok(accepted.response.includes(`Sec-WebSocket-Accept: ${accept}\r\n`));

  const answer = readAnyhow(random, parseResponseHead, accepted.response);
  assert.ok(typeof answer === 'object' && 'value' in answer, 'our own response is read');
  const agreement = finishHandshake(answer.value.head, request, nonce);
  assert.deepEqual(agreement, { subprotocol: accepted.subprotocol, deflate: accepted.deflate });
  const isCompressed = request.compression !== 'off' && policy.compression !== 'off';
  assert.equal(agreement.deflate !== undefined, isCompressed);

  for (let left = 4; left > 0; left--) {
    const spoilt = readAnyhow(random, parseRequestHead, mutateHead(random, sent, accepted.response));
    if (typeof spoilt === 'object' && 'value' in spoilt) {
      const { head } = spoilt.value;
      outcome(() => asksForWebSocket(head) && acceptHandshake(head, policy));
    }
    const spoiltAnswer = readAnyhow(random, parseResponseHead, mutateHead(random, accepted.response, sent));
    if (typeof spoiltAnswer === 'object' && 'value' in spoiltAnswer) {
      const { head } = spoiltAnswer.value;
      outcome(() => finishHandshake(head, request, nonce));
    }
  }
}

/** @returns an equivalent request (RFC 9110 §5): fields in another order and case, with blanks around the values */
function disguise(random: Random, request: Buffer): Buffer {
  const [line = '', ...fields] = request.toString('latin1').trimEnd().split('\r\n');
  const disguised = fields.map(field => {
    const [name = '', ...value] = field.split(': ');
    const shown = random.pick([name, name.toLowerCase(), name.toUpperCase()]);
    return `${shown}:${random.pick(['', ' ', ' \t '])}${value.join(': ')}${random.pick(['', ' ', '\t'])}`;
  });
  for (let i = disguised.length - 1; i > 0; i--) {
    const other = random.below(i + 1);
    [disguised[i], disguised[other]] = [disguised[other]!, disguised[i]!];
  }
  const empty = random.oneIn(8) ? '\r\n' : '';
  return Buffer.from(`${empty}${[line, ...disguised].join('\r\n')}\r\n\r\n`, 'latin1');
}

const spoilers = [
  '\r\n',
  '\n',
  '\r',
  ' ',
  '\t',
  ':',
  ',',
  ';',
  '"',
  '\\',
  '=',
  '\0',
  '\x7f',
  '\xff',
  '\r\n\r\n',
];
const lines = [
  'Content-Length: 5',
  'Content-Length: 0',
  'Transfer-Encoding: chunked',
  'Host: twice',
  'Sec-WebSocket-Version: 8',
  'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits="1\\5", x;y=""',
  'Sec-WebSocket-Protocol: ,,',
  'Upgrade: h2c, websocket',
  ' folded',
  ': nameless',
];

function mutateHead(random: Random, head: Buffer, other: Buffer): Buffer {
  if (random.oneIn(3)) return mutate(random, head, other);
  let text = head.toString('latin1');
  for (let left = 1 + random.below(3); left > 0; left--) {
    const at = random.below(text.length + 1);
    if (random.oneIn(2)) {
      text = text.slice(0, at) + random.pick(spoilers).repeat(1 + random.below(2)) + text.slice(at);
    } else {
      const lineEnd = text.indexOf('\r\n', at);
      if (lineEnd < 0) continue;
      const line = random.oneIn(10) ? `X: ${'x'.repeat(3000)}` : random.pick(lines);
      text = `${text.slice(0, lineEnd)}\r\n${line}${text.slice(lineEnd)}`;
    }
  }
  return Buffer.from(text, 'latin1');
}
