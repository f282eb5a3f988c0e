/** Admission: how many connections the server takes in all, and from one address. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  addressRefusal,
  becomeClientOrRefusal,
  becomeClientOrThrow,
  checkRoomForPolled,
  maxForAddress,
  mayEnter,
} from '../../src/core/admission.ts';
import { addConnection } from '../../src/core/connection.ts';
import {
  addressKey,
  becomeIdle,
  changeAddress,
  establish,
  leavePlaces,
  pickCandidate,
} from '../../src/core/places.ts';
import { endingOf } from '../../src/diagnostics/closeReason.ts';
import { minExtraSockets, rejectionSlots } from '../../src/protocol/limits.ts';
import type { Connection, Server } from '../../src/records/records.ts';
import { websocket } from '../../src/wires/websocket.ts';
import { FakeSocket, newFakeServer } from '../support/fakeSocket.ts';

/** An accepted connection that has sent nothing yet. */
function enter(server: Server, address = '127.0.0.1:1'): Connection {
  return addConnection(server, new FakeSocket(address), websocket);
}

/** A connection that finished its handshake and counts as a client. */
function enterClient(server: Server, address?: string): Connection {
  const connection = enter(server, address);
  assert.equal(becomeClientOrRefusal(connection), undefined);
  establish(connection);
  return connection;
}

function free(connection: Connection): void {
  leavePlaces(connection);
  connection.server.connections--;
}

/** Ends the turn. @returns the connections that were dropped during the turn */
function takeDropped(server: Server): Connection[] {
  const dropped = server.pendingFrees.splice(0);
  for (const connection of dropped) free(connection);
  server.places.dropped = 0;
  return dropped;
}

describe('--max-connections', () => {
  test('the limit counts clients, not connections that are still in their handshake', () => {
    const server = newFakeServer('--max-connections', '2', '--max-per-address', '0');
    const [first, second, third] = [enter(server), enter(server), enter(server)];
    becomeClientOrThrow(first);
    establish(first);
    becomeClientOrThrow(first);
    becomeClientOrThrow(second);
    establish(second);
    assert.throws(() => becomeClientOrThrow(third), { code: 503, option: 'maxConnections' });
    free(first);
    becomeClientOrThrow(third);
    assert.equal(server.places.clients, 2);
  });

  test('an unproven client loses its place to the next client, and its close reason says so', () => {
    const server = newFakeServer('--max-connections', '1', '--max-per-address', '0');
    const [unproven, next] = [enter(server), enter(server)];
    assert.equal(becomeClientOrRefusal(unproven), undefined);
    assert.equal(becomeClientOrRefusal(next), undefined);
    assert.deepEqual(takeDropped(server), [unproven]);
    assert.match(
      endingOf(unproven).why,
      /had not finished its handshake .* took its place \(--max-connections\)$/,
    );
    establish(next);
    assert.equal(becomeClientOrRefusal(enter(server))?.code, 503);
    assert.deepEqual(takeDropped(server), []);
  });

  test('when the server is full, a new connection replaces one that is in its handshake, never a client', () => {
    const server = newFakeServer('--max-connections', '10', '--max-per-address', '0');
    const clients = Array.from({ length: 10 }, () => enterClient(server));
    const silent = Array.from({ length: rejectionSlots }, () => enter(server));
    for (let i = 0; i < 200; i++) {
      assert.equal(mayEnter(server, '203.0.113.7:1'), true);
      silent.push(enter(server, '203.0.113.7:1'));
      const dropped = takeDropped(server);
      assert.equal(dropped.length, 1);
      assert.ok(!clients.includes(dropped[0]!));
      assert.equal(server.connections, 10 + rejectionSlots);
    }
    for (const connection of silent) establish(connection);
    assert.equal(mayEnter(server, '203.0.113.7:1'), false);
  });

  test('the dropped connection nearly always belongs to the address with the most connections', () => {
    const server = newFakeServer('--max-connections', '100', '--max-per-address', '0');
    const others = Array.from({ length: 10 }, (_, at) => enter(server, `198.51.100.${at}:1`));
    for (let i = 0; i < 90 + rejectionSlots; i++) enter(server);
    let dropped = 0;
    for (let i = 0; i < 1000; i++) {
      assert.equal(mayEnter(server, '127.0.0.1:1'), true);
      for (const connection of takeDropped(server)) if (others.includes(connection)) dropped++;
      enter(server);
    }
    // A choice among all connections would have dropped all ten.
    assert.ok(dropped < 3, `${dropped} of ten`);
  });

  test('the dropped connection is chosen at random', () => {
    const server = newFakeServer('--max-connections', '10', '--max-per-address', '0');
    for (let i = 0; i < 10 + rejectionSlots; i++) enter(server);
    const ids = new Set<number>();
    for (let i = 0; i < 50; i++) {
      assert.equal(mayEnter(server, '203.0.113.7:1'), true);
      for (const { id } of takeDropped(server)) ids.add(id);
      enter(server);
    }
    assert.ok(ids.size > 5, `${ids.size} of 50 were different`);
  });
});

describe('--max-per-address', () => {
  test('the default is half of what the server can hold: connections, descriptors or polling sessions', () => {
    assert.equal(maxForAddress(newFakeServer('--max-connections', '101')), 51);
    const server = newFakeServer();
    assert.equal(
      maxForAddress({ ...server, descriptors: { limit: 256, listeners: 0, pipes: 0, files: 0, app: 0 } }),
      128,
    );
    assert.equal(maxForAddress(server, true), 32_768);
    assert.equal(maxForAddress(newFakeServer('--max-per-address', '7')), 7);
    assert.equal(maxForAddress(newFakeServer('--max-per-address', '0')), Number.POSITIVE_INFINITY);
  });

  test('an address that has reached the limit is refused, and other addresses are not', () => {
    const server = newFakeServer('--max-per-address', '3');
    const clients = [1, 2, 3].map(port => enterClient(server, `203.0.113.7:${port}`));
    const refusal = becomeClientOrRefusal(enter(server, '203.0.113.7:4'));
    assert.deepEqual([refusal?.code, refusal?.option], [429, 'maxPerAddress']);
    assert.match(refusal!.message, /^your address \(203\.0\.113\.7\) has 3 connections already; /);
    enterClient(server, '203.0.113.8:1');
    free(clients[0]!);
    enterClient(server, '203.0.113.7:5');
  });

  test('polling sessions count as clients of their address, although they keep no socket open', () => {
    const server = newFakeServer('--max-per-address', '3');
    for (let i = 0; i < 3; i++) enterClient(server, '203.0.113.7:1');
    const request = enter(server, '203.0.113.7:4');
    assert.throws(() => checkRoomForPolled(request), { code: 429, option: 'maxPerAddress' });
    checkRoomForPolled(enter(server, '203.0.113.8:4'));
  });

  test('silent connections of one address are limited: one more replaces another of that address', () => {
    const server = newFakeServer('--max-per-address', '4');
    const other = enter(server, '203.0.113.8:1');
    for (let i = 0; i < 4 + minExtraSockets; i++) {
      assert.equal(mayEnter(server, '203.0.113.7:1'), true);
      enter(server, '203.0.113.7:1');
    }
    assert.deepEqual(takeDropped(server), []);
    for (let i = 0; i < 100; i++) {
      if (!mayEnter(server, '203.0.113.7:1')) continue;
      enter(server, '203.0.113.7:1');
      const dropped = takeDropped(server);
      assert.equal(dropped.length, 1);
      assert.notEqual(dropped[0], other);
    }
    assert.equal(server.connections, 1 + 4 + minExtraSockets);
  });

  test('IPv6 addresses count by /64, IPv4-mapped addresses as IPv4, and Unix sockets not at all', () => {
    assert.equal(addressKey('[2001:db8:1:2:3::4]:80'), '2001:db8:1:2::/64');
    assert.equal(addressKey('2001:db8:1:2::'), '2001:db8:1:2::/64');
    assert.notEqual(addressKey('[2001:db8:1:3::]:80'), addressKey('[2001:db8:1:2::]:80'));
    for (const address of ['127.0.0.1:50312', '127.0.0.1', '::ffff:127.0.0.1', '[::ffff:7f00:1]:9'])
      assert.equal(addressKey(address), '127.0.0.1', address);
    assert.equal(addressKey('[::1]:7'), '::/64');
    assert.equal(addressKey('[fe80::1%eth0]:7'), 'fe80::/64');
    assert.equal(addressKey('unix'), undefined);
    assert.equal(addressKey('gone:0'), undefined);
  });

  test('connections through a trusted proxy count for the addresses that the proxy reports', () => {
    const server = newFakeServer('--max-per-address', '2', '--trust-proxy', '10.0.0.1');
    const proxied = Array.from({ length: 20 }, () => enter(server, '10.0.0.1:1'));
    assert.equal(server.places.byAddress.size, 0);
    for (const [at, connection] of proxied.entries()) {
      changeAddress(connection, at < 10 ? '203.0.113.7' : `198.51.100.${at}`);
      const expected = at === 2 ? 429 : undefined;
      if (at < 3 || at >= 10) assert.equal(becomeClientOrRefusal(connection)?.code, expected, `${at}`);
      establish(connection);
    }
    for (const connection of proxied) free(connection);
    assert.equal(server.places.byAddress.size, 0);
    assert.equal(server.places.clients, 0);
  });

  test('an address that a proxy reports gets no more sockets than one that connects directly', () => {
    const server = newFakeServer('--max-per-address', '2', '--trust-proxy', '10.0.0.1');
    const refused = Array.from({ length: 30 }, () => {
      const connection = enter(server, '10.0.0.1:1');
      changeAddress(connection, '203.0.113.7');
      return addressRefusal(connection)?.code;
    });
    assert.equal(refused.filter(code => code === undefined).length, 2 + minExtraSockets);
    assert.equal(refused.filter(code => code === 429).length, 28 - minExtraSockets);
  });
});

test('an idle connection whose next request has arrived is not dropped for a newcomer', () => {
  const server = newFakeServer('--max-connections', '1', '--max-per-address', '0');
  const connection = enter(server);
  becomeIdle(connection);
  connection.input = Buffer.from('GET / HTTP/1.1\r\n');
  assert.equal(pickCandidate(server.places.idle), undefined);
  connection.input = undefined;
  assert.equal(pickCandidate(server.places.idle), connection);
});
