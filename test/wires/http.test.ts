/** How the HTTP wire reads request bodies. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectionBudget } from '../../src/protocol/limits.ts';
import { workUnits } from '../../src/protocol/workUnits.ts';
import { newHttpWire } from '../../src/wires/http.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';

test('a body in tiny chunks is read within the budget of each turn', () => {
  const server = newFakeServer();
  const { connection } = openFakeConnection(server, undefined);
  let content = '';
  const route = {
    takes: () => true,
    admit: () => 1_000_000,
    answer: (_: unknown, __: unknown, body: Buffer) => {
      content = body.toString();
    },
  };
  connection.wire = newHttpWire(server, [route]);
  connection.endpoint = undefined;
  const count = 5 * connectionBudget;
  const head = 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n';
  const bytes = Buffer.from(`${head}${'1\r\nx\r\n'.repeat(count)}0\r\n\r\n`);
  let rounds = 0;
  for (let at = 0; content === ''; rounds++) {
    const before = workUnits.spent;
    at = connection.wire.receive(connection, bytes, at, bytes.length);
    assert.ok(workUnits.spent - before <= connectionBudget + 1);
    assert.equal(connection.isThrottled, content === '');
  }
  assert.equal(content, 'x'.repeat(count));
  // Each chunk has two lines. The clock may end a budget earlier.
  assert.ok(rounds >= 10, `${rounds} rounds`);
});
