/** PROXY headers, valid and malformed. */

/** The signature of version 2. */
export const proxySignature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

const noExtensions = Buffer.alloc(0);

/** @param family address family and transport: 0x11 is TCP over IPv4 */
export function proxyHeader2(
  family: number,
  addresses: Buffer,
  {
    command = 0x21,
    extensions = noExtensions,
    size = addresses.length + extensions.length,
  }: {
    command?: number;
    extensions?: Buffer;
    size?: number;
  } = {},
): Buffer {
  const head = Buffer.from([command, family, size >> 8, size & 0xff]);
  return Buffer.concat([proxySignature, head, addresses, extensions]);
}

export const inetAddresses = Buffer.from('cb007107c0000201dd3c01bb', 'hex');
const inet6Addresses = Buffer.from(
  `20010db8${'0'.repeat(20)}0007${'20010db8'}${'0'.repeat(20)}0001dd3c01bb`,
  'hex',
);
const mappedAddresses = Buffer.from(
  `${'0'.repeat(20)}ffffcb007107${'0'.repeat(20)}ffffc0000201dd3c01bb`,
  'hex',
);
const extension = Buffer.from('0400020000', 'hex');

/** Valid headers with the address that they report; `undefined` for the proxy's own. */
export const goodHeaders: readonly (readonly [name: string, header: Buffer, address: string | undefined])[] =
  [
    ['TCP4', Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 56636 443\r\n'), '203.0.113.7:56636'],
    [
      'TCP4, longest',
      Buffer.from('PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n'),
      '255.255.255.255:65535',
    ],
    ['TCP6', Buffer.from('PROXY TCP6 2001:db8::7 2001:db8::1 56636 443\r\n'), '[2001:db8::7]:56636'],
    ['TCP6, mapped', Buffer.from('PROXY TCP6 ::ffff:203.0.113.7 ::1 56636 443\r\n'), '203.0.113.7:56636'],
    ['UNKNOWN', Buffer.from('PROXY UNKNOWN\r\n'), undefined],
    ['UNKNOWN, longest', Buffer.from(`PROXY UNKNOWN ${'f'.repeat(91)}\r\n`), undefined],
    ['version 2, IPv4', proxyHeader2(0x11, inetAddresses), '203.0.113.7:56636'],
    [
      'version 2, IPv4 and an extension',
      proxyHeader2(0x11, inetAddresses, { extensions: extension }),
      '203.0.113.7:56636',
    ],
    ['version 2, IPv6', proxyHeader2(0x21, inet6Addresses), '[2001:db8::7]:56636'],
    ['version 2, mapped', proxyHeader2(0x21, mappedAddresses), '203.0.113.7:56636'],
    ['version 2, Unix', proxyHeader2(0x31, Buffer.alloc(216)), 'unix'],
    ['version 2, LOCAL', proxyHeader2(0x00, Buffer.alloc(0), { command: 0x20 }), undefined],
    ['version 2, LOCAL with addresses', proxyHeader2(0x11, inetAddresses, { command: 0x20 }), undefined],
    ['version 2, unspecified', proxyHeader2(0x00, Buffer.alloc(5)), undefined],
    [
      'version 2, longest',
      proxyHeader2(0x11, inetAddresses, { extensions: Buffer.alloc(4096 - 12) }),
      '203.0.113.7:56636',
    ],
  ];

/** Malformed headers. Each is recognised at its end at the latest. */
export const badHeaders: readonly (readonly [name: string, header: Buffer])[] = [
  ...[
    'PROXY TCP4 203.0.113.7 192.0.2.1 56636 443\n',
    'PROXY TCP4 203.0.113.7 192.0.2.1 56636\r\n',
    'PROXY TCP4 203.0.113.7 192.0.2.1 56636 443 \r\n',
    'PROXY TCP4  203.0.113.7 192.0.2.1 56636 443\r\n',
    'PROXY TCP4 203.0.113.7 192.0.2.1 056636 443\r\n',
    'PROXY TCP4 203.0.113.7 192.0.2.1 65536 443\r\n',
    'PROXY TCP4 203.0.113.7 192.0.2.1 1 65536\r\n',
    'PROXY TCP4 203.0.113.7 192.0.2.1 -1 443\r\n',
    'PROXY TCP4 203.0.113.07 192.0.2.1 56636 443\r\n',
    'PROXY TCP4 203.0.113.256 192.0.2.1 56636 443\r\n',
    'PROXY TCP4 2001:db8::7 2001:db8::1 56636 443\r\n',
    'PROXY TCP4 localhost 192.0.2.1 56636 443\r\n',
    'PROXY TCP6 203.0.113.7 192.0.2.1 56636 443\r\n',
    'PROXY TCP6 2001:db8::7 192.0.2.1 56636 443\r\n',
    'PROXY TCP6 2001:db8:::7 ::1 56636 443\r\n',
    'PROXY TCP6 fe80::1%eth0 ::1 56636 443\r\n',
    'PROXY UNKNOWNS\r\n',
    `PROXY UNKNOWN ${'f'.repeat(92)}\r\n`,
    `PROXY TCP4 ${'1'.repeat(200)}`,
  ].map(text => [JSON.stringify(text), Buffer.from(text)] as const),
  ['version 1 in version 2', proxyHeader2(0x11, inetAddresses, { command: 0x11 })],
  ['version 3', proxyHeader2(0x11, inetAddresses, { command: 0x31 })],
  ['no such command', proxyHeader2(0x11, inetAddresses, { command: 0x22 })],
  ['datagrams', proxyHeader2(0x12, inetAddresses)],
  ['a family that is none', proxyHeader2(0x41, inetAddresses)],
  ['a transport that is none', proxyHeader2(0x13, inetAddresses)],
  ['IPv4 addresses cut short', proxyHeader2(0x11, inetAddresses.subarray(1))],
  ['IPv6 addresses cut short', proxyHeader2(0x21, inetAddresses)],
  ['Unix addresses cut short', proxyHeader2(0x31, Buffer.alloc(215))],
  ['too long', proxyHeader2(0x11, inetAddresses, { size: 4097 })],
  ['as long as can be', proxyHeader2(0x11, inetAddresses, { size: 0xffff })],
];
