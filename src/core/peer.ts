/** Addresses of peers as text, and whose word for someone else's address is taken. */
import { isInNetwork, parseIp } from '../protocol/ipAddress.ts';
import type { Connection } from './connection.ts';
import type { Server } from './server.ts';

/** Whether the peer, as far as it is known by now, is among `--trust-proxy`. */
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

/** `127.0.0.1` of `127.0.0.1:50312`, and so on; an address without a port as it is. */
export function hostOf(address: string): string {
  const [, bracketed, ipv4] = /^(?:\[(.*)\](?::\d+)?|([\d.]+):\d+)$/.exec(address) ?? [];
  return bracketed ?? ipv4 ?? address;
}

/** An address and port as people write them; IPv4 that came over an IPv6 socket as IPv4. */
export function showAddress(address: string, port: number): string {
  const plain = address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
  return plain.includes(':') ? `[${plain}]:${port}` : `${plain}:${port}`;
}

/** Of a peer on a Unix socket, and of one on TCP that is gone. */
export const noAddress = 'unix';

/** The peer of a socket. */
export function showPeer(address: string | undefined, port: number | undefined): string {
  return address === undefined || port === undefined ? noAddress : flattenString(showAddress(address, port));
}

/**
 * Each connection keeps its address: it is copied into one piece, as the pieces that it was put together from, or what it
 * was cut from, would be kept with it, which takes ten times as much. What is no ASCII is lost.
 */
export function flattenString(address: string): string {
  return scratch.toString('latin1', 0, scratch.write(address, 'latin1'));
}

const scratch = Buffer.alloc(128);
