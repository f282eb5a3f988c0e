/**
 * Who takes which place. Clients are counted, in total and by address, and connections that are not clients yet are kept in
 * lists, so that one of them can be dropped when places run short. Control connections are not counted.
 */

import { hostOf, isInNetwork, mappedIpv4, noAddress, parseIp, showIp } from '../protocol/ipAddress.ts';
import type { Connection, Server } from '../records/records.ts';
import type { AddressUse } from '../records/resources.ts';

/** The last result of `addressKey`, which is called twice for each accepted connection. */
let lastAddress = '';
let lastKey: string | undefined;

/** The key under which an address is counted; undefined for Unix sockets and unknown addresses. */
export function addressKey(address: string): string | undefined {
  if (address !== lastAddress) {
    lastKey = readKey(address);
    lastAddress = address;
  }
  return lastKey;
}

function readKey(address: string): string | undefined {
  const colon = address.indexOf(':');
  // Nearly every address is IPv4 with a port.
  if (colon === address.lastIndexOf(':')) {
    const host = colon < 0 ? address : address.slice(0, colon);
    return host.includes('.') ? host : undefined;
  }
  const host = hostOf(address);
  const ip = parseIp(host);
  if (ip === undefined) return undefined;
  if (isInNetwork(ip, mappedIpv4)) return showIp(ip);
  return `${showIp(ip.fill(0, 8))}/64`;
}

/** Whether the peer's address, as far as known, is in `--trust-proxy`. */
export function isTrusted({ address, server }: Connection): boolean {
  return isTrustedAddress(server, address);
}

export function isTrustedAddress({ configuration: { trustProxy } }: Server, address: string): boolean {
  if (trustProxy.length === 0) return false;
  const ip = parseIp(hostOf(address));
  return trustProxy.some(({ network }) =>
    network === undefined ? address === noAddress : ip !== undefined && isInNetwork(ip, network),
  );
}

/** Counts a new connection. */
export function enterPlaces(connection: Connection): void {
  if (connection.isControl) return;
  joinAddress(connection);
  enlist(connection, connection.server.places.halfOpen);
}

/** Stops counting a connection that is freed. */
export function leavePlaces(connection: Connection): void {
  leaveAddress(connection);
  if (connection.isClient) connection.server.places.clients--;
  delist(connection);
}

/** Sets `connection.address` to the client's address, as a trusted proxy gives it. */
export function changeAddress(connection: Connection, address: string): void {
  leaveAddress(connection);
  connection.address = address;
  joinAddress(connection);
}

/** Counts the connection for its address. Connections of a trusted proxy count once it has named the client. */
function joinAddress(connection: Connection): void {
  const { server, isClient } = connection;
  const key = isTrusted(connection) ? undefined : addressKey(connection.address);
  if (key === undefined) return;
  const { byAddress } = server.places;
  let use = byAddress.get(key);
  if (use === undefined) {
    use = { address: key, sockets: 0, clients: 0, polled: 0 };
    byAddress.set(key, use);
  }
  connection.addressUse = use;
  if (hasSocket(connection)) use.sockets++;
  if (isClient) countClient(connection, 1);
}

function leaveAddress(connection: Connection): void {
  const { addressUse: use, server, isClient } = connection;
  if (use === undefined) return;
  if (hasSocket(connection)) use.sockets--;
  if (isClient) countClient(connection, -1);
  connection.addressUse = undefined;
  if (use.sockets === 0 && use.polled === 0) server.places.byAddress.delete(use.address);
}

function countClient(connection: Connection, by: 1 | -1): void {
  const { addressUse: use } = connection;
  if (use === undefined) return;
  if (hasSocket(connection)) use.clients += by;
  else use.polled += by;
}

/** Whether the connection has a descriptor. A polling session never has one; its requests do. */
function hasSocket({ socket }: Connection): boolean {
  return socket.isVirtual === undefined;
}

/** Counts the connection as a client. */
export function becomeClient(connection: Connection): void {
  const { server } = connection;
  if (connection.isClient || connection.isControl) return;
  connection.isClient = true;
  server.places.clients++;
  countClient(connection, 1);
  enlist(connection, server.places.unproven);
}

/** An HTTP connection is between two requests: it is dropped for a newcomer before any other. */
export function becomeIdle(connection: Connection): void {
  if (!connection.isControl) enlist(connection, connection.server.places.idle);
}

/** The next request begins to arrive. */
export function endIdling(connection: Connection): void {
  if (!connection.isControl) enlist(connection, connection.server.places.halfOpen);
}

/** Protects the connection from being dropped for a newcomer: it reached trust level 3, or its request is complete. */
export function establish(connection: Connection): void {
  delist(connection);
}

function enlist(connection: Connection, list: Connection[]): void {
  delist(connection);
  connection.candidates = list;
  connection.candidateAt = list.length;
  list.push(connection);
}

/** Removes the connection from its list; the last entry moves to its index. */
function delist(connection: Connection): void {
  const { candidates, candidateAt } = connection;
  if (candidates === undefined) return;
  const last = candidates.pop()!;
  if (last !== connection) {
    candidates[candidateAt] = last;
    last.candidateAt = candidateAt;
  }
  connection.candidates = undefined;
}

/** How many connections are sampled to find one of a certain address, and one of an address with many sockets. */
const samples = 16;
const fewSamples = 4;

/**
 * Picks a connection of the list at random: with `use`, one of this address, if the samples contain one; otherwise the sample
 * whose address has the most sockets, so an address that takes most places also loses most.
 */
export function pickCandidate(list: readonly Connection[], use?: AddressUse): Connection | undefined {
  let best: Connection | undefined;
  const attempts = Math.min(use === undefined ? fewSamples : samples, list.length);
  for (let i = 0; i < attempts; i++) {
    const candidate = list[Math.floor(Math.random() * list.length)]!;
    if (candidate.candidates === candidate.server.places.idle && isInUse(candidate)) continue;
    if (use === undefined) {
      if (best === undefined || socketsOf(candidate) > socketsOf(best)) best = candidate;
    } else if (candidate.addressUse === use) {
      return candidate;
    }
  }
  return best;
}

/** Whether an idle HTTP connection has an answer that is not sent yet, or the next request, which no read has seen yet. */
function isInUse({ queue, input }: Connection): boolean {
  return queue.size > 0 || input !== undefined;
}

function socketsOf({ addressUse }: Connection): number {
  return addressUse?.sockets ?? 0;
}

/** Stops counting a candidate that is being dropped: its place is free at once. */
export function giveUpPlace(candidate: Connection): void {
  candidate.server.places.dropped++;
  delist(candidate);
  if (!candidate.isClient) return;
  candidate.isClient = false;
  candidate.server.places.clients--;
  countClient(candidate, -1);
}
