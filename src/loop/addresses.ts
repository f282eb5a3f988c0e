/** An address and port as people write them; IPv4 that came over an IPv6 socket as IPv4. */
export function showAddress(address: string, port: number): string {
  const plain = address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
  return plain.includes(':') ? `[${plain}]:${port}` : `${plain}:${port}`;
}

/** The peer of a socket; a Unix socket's has no address. */
export function showPeer(address: string | undefined, port: number | undefined): string {
  return address === undefined || port === undefined ? 'unix' : showAddress(address, port);
}
