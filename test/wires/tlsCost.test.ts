/** What a ClientHello costs in work units. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { workUnits } from '../../src/protocol/workUnits.ts';
import { newTlsWire } from '../../src/wires/tls.ts';
import { websocket } from '../../src/wires/websocket.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';

/** A ClientHello of this size, whose records have a byte each. */
function slowHello(size: number): Buffer {
  const message = Buffer.alloc(4 + size);
  message.writeUInt32BE(2 ** 24 + size);
  return Buffer.concat([...message].map(byte => Buffer.of(0x16, 3, 1, 0, 1, byte)));
}

test('a ClientHello that arrives byte by byte costs a unit for each 256 bytes that are searched again', () => {
  const begin = () => assert.fail('the message is not whole');
  const wire = newTlsWire({ isPossible: () => true, begin }, websocket);
  const { connection } = openFakeConnection(newFakeServer(), undefined);
  const hello = slowHello(500);
  const before = workUnits.spent;
  let searched = 0;
  for (let end = 1; end < hello.length; end++) {
    assert.equal(wire.receive(connection, hello, 0, end), 0);
    searched += end;
  }
  assert.ok(workUnits.spent - before >= searched / 256, `${workUnits.spent - before} for ${searched} bytes`);
});
