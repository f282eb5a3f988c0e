/** The tester's opening handshake: its request, and the verdicts on responses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginOpening, readResponse, withoutResponse } from '../../src/conformance/handshake.ts';
import { coversCase, selectCases } from '../../src/conformance/select.ts';
import { classicCases, conformanceCases } from '../../src/conformance/table.ts';
import { acceptValueFor } from '../../src/protocol/websocket/handshake.ts';

const nonce = Buffer.alloc(16, 7);
const request = {
  ...{ host: 'localhost', path: '/echo', subprotocols: [], headers: { 'X-Own': 'a' }, origin: undefined },
  compression: 'on',
} as const;

function open(name: string) {
  const found = conformanceCases.find(each => each.name === name);
  assert.ok(found, name);
  return beginOpening(found, request, nonce);
}

const sentBy = (name: string) => Buffer.concat(open(name).writes).toString('latin1');

/** The verdict on a response, or the negotiated compression. */
function read(name: string, status: number, fields: Record<string, string> = {}) {
  const accept = {
    upgrade: 'websocket',
    connection: 'Upgrade',
    'sec-websocket-accept': acceptValueFor(nonce.toString('base64')),
  };
  const headers = new Map(Object.entries({ ...(status === 101 ? accept : {}), ...fields }));
  const response = readResponse(open(name), { version: '1.1', status, reason: '', headers });
  return 'verdict' in response ? response.verdict : response.deflate;
}

test('the request has the fields of RFC 6455, those of the user, and the changes of the case', () => {
  const key = nonce.toString('base64');
  assert.equal(
    sentBy('pings/empty'),
    `GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\nX-Own: a\r\n\r\n`,
  );
  assert.match(sentBy('handshake/post'), /^POST \/echo HTTP\/1\.1\r\n/);
  assert.doesNotMatch(sentBy('handshake/no-host'), /Host/);
  assert.match(sentBy('handshake/body'), /\r\n\r\nHello$/);
  assert.equal(open('handshake/by-byte').writes.length, sentBy('handshake/ordinary').length);
  assert.match(sentBy('deflate/one-block'), /Sec-WebSocket-Extensions: permessage-deflate\r\n/);
});

test('a required refusal is OK, or NON-STRICT with a wrong status; without a refusal, the case is FAILED', () => {
  assert.equal(read('handshake/no-key', 400), 'OK');
  assert.equal(read('handshake/no-key', 503), 'NON-STRICT');
  assert.equal(read('handshake/no-key', 302), 'FAILED');
  assert.equal(read('handshake/no-key', 101), 'FAILED');
  assert.equal(read('handshake/version-8', 101), 'NON-STRICT');
  assert.equal(read('handshake/version-8', 400), 'NON-STRICT', 'the response does not name version 13');
  assert.equal(read('handshake/version-8', 426, { 'sec-websocket-version': '13' }), 'OK');
});

test('refusing a valid handshake is FAILED, unless the case tolerates it', () => {
  assert.equal(read('handshake/ordinary', 400), 'FAILED');
  assert.equal(read('pings/empty', 400), 'FAILED');
  assert.equal(read('handshake/invalid-offer-1', 400), 'NON-STRICT');
  assert.equal(read('handshake/ordinary', 101), undefined, 'the case continues');
});

test('a wrong Sec-WebSocket-Accept, an extension or a subprotocol that was not offered are FAILED', () => {
  assert.equal(read('handshake/ordinary', 101, { 'sec-websocket-accept': 'x' }), 'FAILED');
  assert.equal(
    read('handshake/ordinary', 101, { 'sec-websocket-extensions': 'permessage-deflate' }),
    'FAILED',
  );
  assert.equal(read('handshake/ordinary', 101, { 'sec-websocket-protocol': 'chat' }), 'FAILED');
  const known = { 'sec-websocket-protocol': 'x-unknown-subprotocol' };
  assert.equal(read('handshake/unknown-subprotocol', 101, known), undefined);
});

test('an agreement on compression must fit an offer', () => {
  const agree = (name: string, value: string) => read(name, 101, { 'sec-websocket-extensions': value });
  assert.deepEqual(agree('deflate/offer-bare', 'permessage-deflate; server_max_window_bits=10'), {
    ...{ serverNoContextTakeover: false, clientNoContextTakeover: false },
    ...{ serverMaxWindowBits: 10, clientMaxWindowBits: 15 },
  });
  for (const wrong of [
    'permessage-deflate; client_max_window_bits=10',
    'permessage-deflate; server_max_window_bits=16',
    'permessage-deflate; server_max_window_bits',
    'permessage-deflate; unknown',
    'permessage-deflate; server_no_context_takeover=1',
    'permessage-deflate, permessage-deflate',
    'other',
  ]) {
    assert.equal(agree('deflate/offer-bare', wrong), 'FAILED', wrong);
  }
  const asked = 'deflate/offer-server-max-window-bits-10';
  assert.equal(agree(asked, 'permessage-deflate'), 'FAILED');
  assert.equal(agree(asked, 'permessage-deflate; server_max_window_bits=11'), 'FAILED');
  assert.equal(typeof agree(asked, 'permessage-deflate; server_max_window_bits=9'), 'object');
  assert.equal(agree('deflate/offer-server-no-context-takeover', 'permessage-deflate'), 'FAILED');
  assert.equal(
    agree('deflate/offer-client-max-window-bits-9', 'permessage-deflate; client_max_window_bits=10'),
    'FAILED',
  );
});

test('a server that drops TCP instead of refusing is NON-STRICT; one that stays silent is FAILED', () => {
  const { test: refused } = open('handshake/no-key');
  assert.equal(withoutResponse(refused, 'the end', true).verdict, 'NON-STRICT');
  assert.equal(withoutResponse(refused, 'silence', false).verdict, 'FAILED');
  assert.equal(withoutResponse(open('pings/empty').test, 'the end', true).verdict, 'FAILED');
});

test('patterns cover cases by name and by number, and the cases below them', () => {
  const numbered = (pattern: string) =>
    classicCases.filter(each => coversCase(pattern, each)).map(({ number }) => number);
  assert.deepEqual(numbered('6.4'), ['6.4.1', '6.4.2', '6.4.3', '6.4.4']);
  assert.deepEqual(numbered('2.1'), ['2.1'], 'not 2.10');
  assert.deepEqual(numbered('2.1*'), ['2.1', '2.10', '2.11']);
  assert.deepEqual(numbered('6.4.1'), ['6.4.1']);
  assert.equal(numbered('pings').length, 11);
  assert.equal(numbered('*').length, 517);
  assert.deepEqual(numbered('6x4'), []);
});

test('handshake cases test servers only, and a quick run has no large cases', () => {
  const all = { patterns: [], isQuick: false } as const;
  const clients = selectCases(conformanceCases, { ...all, tests: 'clients' });
  assert.ok(clients.every(each => each.handshake === undefined && each.tests !== 'servers'));
  const quick = selectCases(conformanceCases, { patterns: [], isQuick: true, tests: 'servers' });
  assert.ok(quick.length > 600 && quick.every(each => each.isLarge !== true));
});

test('every case has a unique name, a description and an expectation', () => {
  assert.equal(new Set(conformanceCases.map(({ name }) => name)).size, conformanceCases.length);
  for (const { name, description, expectation } of conformanceCases) {
    assert.match(name, /^[a-z\d-]+\/[a-z\d.-]+$/);
    for (const sentence of [description, expectation]) assert.match(sentence, /^[A-Z].*\.$/s, name);
  }
});
