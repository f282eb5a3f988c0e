import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isInNetwork, parseIp, parseNetwork } from '../../src/protocol/ipAddress.ts';

const hex = (text: string) => {
  const bytes = parseIp(text);
  return bytes && Buffer.from(bytes).toString('hex');
};

test('addresses in the notations of RFC 4291 and RFC 3986 are read', () => {
  const ipv4 = '00000000000000000000ffff';
  const addresses: Record<string, string> = {
    '0.0.0.0': `${ipv4}00000000`,
    '192.0.2.255': `${ipv4}c00002ff`,
    '::ffff:192.0.2.255': `${ipv4}c00002ff`,
    '::': '0'.repeat(32),
    '::1': `${'0'.repeat(31)}1`,
    '1::': `0001${'0'.repeat(28)}`,
    '2001:db8::8:800:200c:417a': '20010db80000000000080800200c417a',
    '2001:DB8:0:0:8:800:200C:417A': '20010db80000000000080800200c417a',
    '1:2:3:4:5:6:7::': '00010002000300040005000600070000',
    '64:ff9b::192.0.2.33': '0064ff9b0000000000000000c0000221',
    'fe80::1%eth0': `fe80${'0'.repeat(27)}1`,
  };
  for (const [text, bytes] of Object.entries(addresses)) assert.equal(hex(text), bytes, text);
});

test('text that is not an IP address is refused', () => {
  const others = [
    '',
    ' ',
    'localhost',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.4 ',
    '0x1.2.3.4',
  ];
  const colons = [
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '12345::',
  ];
  const mixed = [
    'g::',
    '1.2.3.4::',
    '::1.2.3.4:5',
    '::1.2.3.400',
    ':1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:',
    '[::1]',
  ];
  for (const text of [...others, ...colons, ...mixed]) assert.equal(hex(text), undefined, text);
});

test('a network contains exactly the addresses with its prefix', () => {
  const cases: [string, string[], string[]][] = [
    ['127.0.0.1', ['127.0.0.1', '::ffff:127.0.0.1'], ['127.0.0.2', '::1']],
    ['10.0.0.0/8', ['10.0.0.1', '10.255.255.255'], ['11.0.0.0', '9.255.255.255', '::a00:1']],
    ['192.0.2.128/25', ['192.0.2.128', '192.0.2.255'], ['192.0.2.127']],
    ['192.0.2.77/30', ['192.0.2.76', '192.0.2.79'], ['192.0.2.80']],
    ['0.0.0.0/0', ['1.2.3.4'], ['::1']],
    ['::/0', ['1.2.3.4', '::1'], []],
    ['fd00::/9', ['fd00::1', 'fd7f::'], ['fd80::', 'fc00::']],
    ['2001:db8::/128', ['2001:db8::'], ['2001:db8::1']],
  ];
  for (const [text, inside, outside] of cases) {
    const network = parseNetwork(text)!;
    for (const ip of inside) assert.ok(isInNetwork(parseIp(ip)!, network), `${ip} in ${text}`);
    for (const ip of outside) assert.ok(!isInNetwork(parseIp(ip)!, network), `${ip} not in ${text}`);
  }
  for (const text of [
    '1.2.3.4/33',
    '::/129',
    '1.2.3.4/',
    '/8',
    '1.2.3.4/08',
    '1.2.3.4/-1',
    'host/8',
    '1.2.3.4/8/8',
  ])
    assert.equal(parseNetwork(text), undefined, text);
});
