/** Admission: the limits on connections, in total and for one address, and the rules of TLS for newcomers. */

import { noteEnding, noteRule } from '../diagnostics/closeReason.ts';
import { type LogFields, log } from '../log/log.ts';
import { rate } from '../options/values.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { isPrivateIp, parseNetwork } from '../protocol/ipAddress.ts';
import {
  maxPollingSessions,
  minExtraSockets,
  rejectionSlots,
  shortageLogInterval,
} from '../protocol/limits.ts';
import type { Connection, Server } from '../records/records.ts';
import type { AddressUse } from '../records/resources.ts';
import { dropConnection } from './close.ts';
import { descriptorsInUse, usableDescriptors } from './descriptors.ts';
import { addressKey, becomeClient, giveUpPlace, isTrustedAddress, pickCandidate } from './places.ts';
import { mayConnect } from './rates.ts';

/** @returns why the server closes a new connection from this address at once, as `metrics` names it; undefined if it does not */
export function rejectionOf(
  server: Server,
  address: string,
): 'draining' | 'connect_rate' | 'not_admitted' | undefined {
  if (server.isDraining) return 'draining';
  if (!isTrustedAddress(server, address) && !mayConnect(server, address)) {
    tellOfRate(server, address);
    return 'connect_rate';
  }
  return mayEnter(server, address) ? undefined : 'not_admitted';
}

/**
 * @returns whether there is room for a new connection from this address
 *
 * A full server makes room: it drops an idle HTTP connection, or else a connection that has not finished its handshake,
 * chosen at random as OpenSSH does beyond MaxStartups, more likely one of an address with many. So silent connections keep
 * others out for no longer than a reconnect takes, and clients are never dropped.
 */
export function mayEnter(server: Server, address: string): boolean {
  const use = server.places.byAddress.get(addressKey(address) ?? '');
  if (use !== undefined && !isTrustedAddress(server, address) && isAddressFull(server, use, use.sockets)) {
    if (dropIdle(server, use)) return true;
    tellOfAddress(server, use, use.sockets);
    return dropCandidate(server, 'its address has too many connections', 'maxPerAddress', use);
  }
  if (isFull(server)) {
    if (dropIdle(server)) return true;
    tellRarely(server, 'out of places', () => ({
      connections: server.connections,
      halfOpen: server.places.halfOpen.length + server.places.unproven.length,
      maxConnections: server.configuration.maxConnections,
    }));
    return dropCandidate(server, 'all places were taken', 'maxConnections');
  }
  if (isShortOfDescriptors(server)) {
    if (dropIdle(server)) return true;
    tellOfDescriptors(server);
    return dropCandidate(server, 'the server was out of descriptors');
  }
  return true;
}

/** Drops an HTTP connection between two requests. Its client connects again when it needs to. @returns false if there is none */
function dropIdle({ places }: Server, use?: AddressUse): boolean {
  const candidate = pickCandidate(places.idle, use);
  if (candidate === undefined) return false;
  giveUpPlace(candidate);
  dropConnection(candidate);
  return true;
}

/** Drops a half-open connection or, failing that, an unproven client. @returns false if there is none */
function dropCandidate(
  { places }: Server,
  shortage: string,
  option?: 'maxConnections' | 'maxPerAddress',
  use?: AddressUse,
): boolean {
  const candidate = pickCandidate(places.halfOpen, use) ?? pickCandidate(places.unproven, use);
  if (candidate === undefined) return false;
  drop(candidate, shortage, option);
  return true;
}

function drop(candidate: Connection, shortage: string, option?: 'maxConnections' | 'maxPerAddress'): void {
  const why = `it had not finished its handshake when ${shortage}, and a newcomer took its place`;
  if (option === undefined) noteEnding(candidate, 'server', why, { cause: 'place_needed' });
  else noteRule(candidate, why, option);
  giveUpPlace(candidate);
  dropConnection(candidate);
}

/**
 * Counts the connection as a client, if there is room.
 * @returns otherwise the refusal, whose code is an HTTP status
 */
export function becomeClientOrRefusal(connection: Connection): ProtocolError | undefined {
  if (connection.isClient || connection.isControl) return undefined;
  const { server, addressUse } = connection;
  const refusal = refusalFor(server, addressUse, false);
  if (refusal === undefined) becomeClient(connection);
  return refusal;
}

/** As `becomeClientOrRefusal`, but throws the refusal. @throws ProtocolError 429 or 503 */
export function becomeClientOrThrow(connection: Connection): void {
  const refusal = becomeClientOrRefusal(connection);
  if (refusal !== undefined) throw refusal;
}

/** Checks that a polling session may be added. Descriptors do not bound their number. @throws ProtocolError 429 or 503 */
export function checkRoomForPolled({ server, addressUse }: Connection): void {
  const refusal = refusalFor(server, addressUse, true);
  if (refusal !== undefined) throw refusal;
}

function refusalFor(
  server: Server,
  use: AddressUse | undefined,
  isPolled: boolean,
): ProtocolError | undefined {
  const { places, polling, configuration } = server;
  const { maxConnections } = configuration;
  const most = maxForAddress(server, isPolled);
  const held = use === undefined ? 0 : heldBy(server, use, isPolled);
  if (use !== undefined && held >= most && !replaceUnproven(server, 'maxPerAddress', use)) {
    tellOfAddress(server, use, held);
    const reason = `your address (${use.address}) has ${held} connections already; close some, or try again later`;
    return new ProtocolError(429, reason, {}, 'maxPerAddress');
  }
  if (maxConnections > 0) {
    if (places.clients < maxConnections || replaceUnproven(server, 'maxConnections')) return undefined;
    return full(`${maxConnections} connections`);
  }
  return isPolled && polling.clients >= maxPollingSessions
    ? full(`${maxPollingSessions} sessions over HTTP`)
    : undefined;
}

/** Drops an unproven client to make room for a new client. @returns false if there is none */
function replaceUnproven(
  { places }: Server,
  option: 'maxConnections' | 'maxPerAddress',
  use?: AddressUse,
): boolean {
  const candidate = pickCandidate(places.unproven, use);
  if (candidate !== undefined) drop(candidate, 'all places were taken', option);
  return candidate !== undefined;
}

function full(many: string): ProtocolError {
  return new ProtocolError(503, `there are ${many} already; try again later`, {}, 'maxConnections');
}

/**
 * How many clients one address may have; Infinity if there is no limit. The default is half of `--max-connections` if that
 * is set, else half of the descriptors; for polling sessions half of `maxPollingSessions`.
 */
export function maxForAddress({ configuration, descriptors }: Server, isPolled = false): number {
  const { maxPerAddress, maxConnections } = configuration;
  if (maxPerAddress === 0) return Number.POSITIVE_INFINITY;
  if (maxPerAddress !== 'half') return maxPerAddress;
  if (maxConnections > 0) return Math.ceil(maxConnections / 2);
  return isPolled ? maxPollingSessions / 2 : Math.ceil(descriptors.limit / 2);
}

/** Whether one limit covers sockets and polling sessions. It does not if the limit is half of the descriptors. */
function areCountedTogether({ configuration: { maxPerAddress, maxConnections } }: Server): boolean {
  return maxPerAddress !== 'half' || maxConnections > 0;
}

/** The clients of an address that count against its limit. */
function heldBy(server: Server, { clients, polled }: AddressUse, isPolled: boolean): number {
  if (areCountedTogether(server)) return clients + polled;
  return isPolled ? polled : clients;
}

/**
 * Whether an address has used up its sockets: its clients, two requests for each polling session (one that waits, one that
 * posts), and some for handshakes, other requests and refusals.
 */
function isAddressFull(server: Server, use: AddressUse, sockets: number): boolean {
  const most = maxForAddress(server);
  if (most === Number.POSITIVE_INFINITY) return false;
  const extra = Math.min(rejectionSlots, Math.max(minExtraSockets, most >> 2));
  const requests = areCountedTogether(server) ? 2 * use.polled : 0;
  return sockets >= most + extra + requests;
}

/** The same check for an address that a trusted proxy reported after the accept. @returns the refusal, if any */
export function addressRefusal({ server, addressUse: use }: Connection): ProtocolError | undefined {
  // The connection itself is counted already.
  if (use === undefined || !isAddressFull(server, use, use.sockets - 1)) return undefined;
  if (dropIdle(server, use)) return undefined;
  tellOfAddress(server, use, use.sockets);
  const reason = `your address (${use.address}) has ${use.sockets} connections already; close some, or try again later`;
  return new ProtocolError(429, reason, {}, 'maxPerAddress');
}

/** Whether the server is full, including the room for refusals. */
function isFull({ connections, places, polling, configuration: { maxConnections } }: Server): boolean {
  // A polling client counts twice while one of its requests waits, and once more while the next arrives.
  return (
    maxConnections > 0 &&
    connections - places.dropped >= maxConnections + rejectionSlots + 2 * polling.clients
  );
}

/** Whether only the reserved descriptors are left. */
export function isShortOfDescriptors(server: Server): boolean {
  return descriptorsInUse(server) - server.places.dropped >= usableDescriptors(server);
}

function tellOfDescriptors(server: Server): void {
  const { connections, descriptors } = server;
  const { limit, ...others } = descriptors;
  tellRarely(server, 'out of descriptors', () => ({
    connections,
    ...others,
    openFiles: limit,
    raise: 'ulimit -Hn',
  }));
}

function tellOfAddress(server: Server, { address }: AddressUse, connections: number): void {
  const ip = parseNetwork(address)?.address;
  const remedy =
    ip !== undefined && isPrivateIp(ip)
      ? 'if it is a reverse proxy, name it with --trust-proxy; else raise --max-per-address'
      : 'raise --max-per-address, or 0 for no limit';
  tellRarely(server, 'too many connections from one address', () => ({ address, connections, remedy }));
}

function tellOfRate(server: Server, address: string): void {
  const limit = rate.show(server.configuration.connectRate);
  tellRarely(server, 'new connections too fast', () => ({ address: addressKey(address), limit }));
}

/**
 * Checks the rate of a client whose address a trusted proxy reported: of a handshake, or on a wire without requests. Other requests
 * through a proxy count as no connection.
 * @returns the refusal, if any
 */
export function connectRateRefusal(connection: Connection): ProtocolError | undefined {
  const { server, address, socket } = connection;
  const { connectRate } = server.configuration;
  if (connectRate.burst === 0 || address === socket.address() || mayConnect(server, address))
    return undefined;
  tellOfRate(server, address);
  const wait = Math.ceil(1 / connectRate.perSecond);
  const reason = `your address (${addressKey(address)}) opens connections too fast; wait ${wait} s`;
  return new ProtocolError(429, reason, { 'Retry-After': String(wait) }, 'connectRate');
}

/** Logs a shortage, which may last: at most one line of each kind in `shortageLogInterval`. */
function tellRarely({ lastWarnedAt, now }: Server, event: string, fields: () => LogFields): void {
  const last = lastWarnedAt.get(event);
  if (last !== undefined && now - last < shortageLogInterval) return;
  lastWarnedAt.set(event, now);
  log('warn', event, fields());
}

/** @returns why a connection is not served, if it is not; the code is an HTTP status */
export function admissionRefusal(connection: Connection): ProtocolError | undefined {
  const { isControl, security, server } = connection;
  // The mode of the control socket's file is the authentication.
  if (isControl) return undefined;
  const crowded = addressRefusal(connection);
  if (crowded !== undefined) return crowded;
  if (security === undefined) {
    if (!server.configuration.tlsOnly) return undefined;
    // RFC 2817 §4.2: a 426 response names the required protocol.
    const headers = { Upgrade: 'TLS/1.2, HTTP/1.1', Connection: 'Upgrade' };
    const reason = 'this server speaks TLS only: connect with https:// or wss://';
    return new ProtocolError(426, reason, headers, 'tlsOnly');
  }
  return security.fault === undefined ? undefined : new ProtocolError(403, security.fault, {}, 'tlsClient');
}
