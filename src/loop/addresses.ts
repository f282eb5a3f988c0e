/** An address and port as people write them; IPv4 that came over an IPv6 socket as IPv4. */
export function showAddress(address: string, port: number): string {
  const plain = address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
  return plain.includes(':') ? `[${plain}]:${port}` : `${plain}:${port}`;
}

/**
 * The peer of a socket; a Unix socket's has no address. Each connection keeps this: it is copied into one piece, as the
 * pieces that it was put together from would be kept with it, which take ten times as much.
 */
export function showPeer(address: string | undefined, port: number | undefined): string {
  if (address === undefined || port === undefined) return 'unix';
  return scratch.toString('latin1', 0, scratch.write(showAddress(address, port), 'latin1'));
}

const scratch = Buffer.alloc(128);
