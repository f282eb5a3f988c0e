/** The closing handshake, RFC 6455 §5.5.1 and §7, in every order. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isSendableCloseCode, type Role } from '../../src/protocol/codes.ts';
import { closePayload } from '../../src/protocol/websocket/endpoint.ts';
import { close, fail, newRecord, plainServer, readEvents, setUpEndpoint } from '../support/endpointRun.ts';
import { type FrameOptions, frame, opcode, closePayload as peerClose } from '../support/rawFrame.ts';

function newEnd(role: Role) {
  const endpoint = setUpEndpoint({ ...plainServer, role });
  const record = newRecord(endpoint);
  return {
    endpoint,
    give(kind: keyof typeof opcode, payload: string | Buffer = '', options: FrameOptions = {}) {
      const bytes = frame(opcode[kind], payload, { ...(role === 'server' ? {} : { key: null }), ...options });
      assert.equal(readEvents(record, bytes), bytes.length);
    },
    startClosing: (code: number, reason = '') => close(record, code, reason),
    failConnection: (code: number, reason = '') => fail(record, code, reason),
    events: () => record.lines.splice(0),
  };
}

/** RFC 6455 §7.4, and IANA's registry: 1012 to 1014. */
function mayBeSent(code: number): boolean {
  const registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
  return registered.includes(code) || (code >= 3000 && code <= 4999);
}

for (const role of ['server', 'client'] as Role[]) {
  describe(`the closing handshake of a ${role}`, () => {
    test('ends after the echo of the code if the peer starts it', () => {
      const end = newEnd(role);
      end.give('close', peerClose(4001, 'bye'));
      assert.deepEqual(end.events(), ['sends close 4001 ""', 'closed 4001 "bye"']);
      assert.equal(end.endpoint.state, 'CLOSED');
    });

    test('is CLOSING until the peer answers, if we close first [5.5.1-5]', () => {
      const end = newEnd(role);
      end.startClosing(1001, 'going away');
      assert.equal(end.endpoint.state, 'CLOSING');
      assert.deepEqual(end.events(), ['sends close 1001 "going away"']);
      end.give('close', peerClose(1001));
      assert.equal(end.endpoint.state, 'CLOSED');
      assert.deepEqual(end.events(), ['closed 1001 ""']);
    });

    test('ends if both start it at once: each close frame counts as the answer', () => {
      const end = newEnd(role);
      end.startClosing(1000);
      end.give('close', peerClose(3000, 'me, too'));
      assert.deepEqual(end.events(), ['sends close 1000 ""', 'closed 3000 "me, too"']);
    });

    test('reads and drops messages while CLOSING', () => {
      const end = newEnd(role);
      end.give('text', 'begun ', { fin: false });
      end.startClosing(1000);
      end.give('continuation', 'before');
      end.give('binary', 'crossing');
      end.give('text', 'cut ', { fin: false });
      end.give('close');
      assert.deepEqual(end.events(), ['sends close 1000 ""', 'closed 1005 ""']);
      assert.equal(end.endpoint.incoming, undefined);
    });

    test('ends at a violation while CLOSING, without a second close frame', () => {
      const end = newEnd(role);
      end.startClosing(1000);
      end.give('text', 'bad', { rsv: 2 });
      assert.match(end.events().join(), /^sends close 1000 "",closed 1002 ".+"$/);
      assert.equal(end.endpoint.state, 'CLOSED');
    });

    test('drops a fragmented message if a close frame arrives before its end', () => {
      const end = newEnd(role);
      end.give('text', 'begun', { fin: false });
      end.give('close', peerClose(1000));
      assert.deepEqual(end.events(), ['sends close 1000 ""', 'closed 1000 ""']);
      assert.equal(end.endpoint.incoming, undefined);
    });

    test('ignores everything after a close frame, a second close frame included', () => {
      const end = newEnd(role);
      end.give('close', peerClose(1000));
      end.events();
      end.give('text', 'late');
      end.give('ping');
      end.give('close', peerClose(1002));
      end.give('text', 'against all rules', { rsv: 7 });
      assert.deepEqual(end.events(), []);
    });

    test('sends one close frame if we close twice, and none if the connection is CLOSED', () => {
      const end = newEnd(role);
      end.startClosing(1000);
      end.startClosing(1001);
      assert.deepEqual(end.events(), ['sends close 1000 ""']);
      end.give('close');
      end.events();
      end.startClosing(1001);
      end.failConnection(1011);
      assert.deepEqual(end.events(), []);
    });

    test('is not awaited if the connection fails: the reason is sent once', () => {
      const end = newEnd(role);
      end.failConnection(1011, 'a fault');
      assert.equal(end.endpoint.state, 'CLOSED');
      end.failConnection(1002, 'another');
      assert.deepEqual(end.events(), ['sends close 1011 "a fault"', 'closed 1011 "a fault"']);
    });

    test('ends without another close frame if the connection fails while CLOSING', () => {
      const end = newEnd(role);
      end.startClosing(1000);
      end.events();
      end.failConnection(1002, 'a fault');
      assert.deepEqual(end.events(), ['closed 1002 "a fault"']);
    });

    test('reports an empty close frame as 1005, and answers with an empty one [7.1.5-a]', () => {
      const end = newEnd(role);
      end.give('close');
      // The recorder shows 1005 for a close frame without a code.
      assert.deepEqual(end.events(), ['sends close 1005 ""', 'closed 1005 ""']);
    });

    test('refuses half a close code [5.5.1-2]', () => {
      const end = newEnd(role);
      end.give('close', Buffer.from([0x03]));
      assert.match(end.events().join(), /^sends close 1002 ".*half a close code",closed 1002/);
    });

    test('reads a reason of 123 bytes from a close frame of 125 bytes', () => {
      const end = newEnd(role);
      end.give('close', peerClose(1000, 'x'.repeat(123)));
      assert.deepEqual(end.events(), ['sends close 1000 ""', `closed 1000 "${'x'.repeat(123)}"`]);
    });

    test('answers or refuses every code from 0 to 65535 as the registry of close codes says [7.4.1-1, 7.4.1-d, 7.4.1-3, 7.4.1-4, 7.4.1-6, 7.4.2-a, 7.4.2-b, 7.4.2-c, 7.4.2-d]', () => {
      for (let code = 0; code <= 65_535; code++) {
        const end = newEnd(role);
        end.give('close', peerClose(code, 'why'));
        const [sent = '', closed = ''] = end.events();
        const isAccepted = sent === `sends close ${code} ""` && closed === `closed ${code} "why"`;
        const isRefused = sent.startsWith('sends close 1002 ') && closed.startsWith('closed 1002 ');
        if (mayBeSent(code) ? !isAccepted : !isRefused) assert.fail(`${code}: ${sent}, ${closed}`);
        assert.equal(isSendableCloseCode(code), mayBeSent(code), String(code));
      }
    });

    test('refuses a reason that is not UTF-8, or ends inside a character, with 1007 [5.5.1-3]', () => {
      for (const hex of ['ff', '80', 'c328', 'eda080', 'c3', 'e282', 'f09f90', `${'61'.repeat(120)}e282`]) {
        const end = newEnd(role);
        end.give('close', peerClose(1000, Buffer.from(hex, 'hex')));
        assert.match(end.events().join(), /^sends close 1007 ".+",closed 1007/, hex);
      }
    });
  });
}

describe('closePayload', () => {
  test('consists of the code and the reason, and is empty for 1005 [5.5.1-1, 5.5.1-2, 7.4-1, 7.4.1-3]', () => {
    assert.equal(closePayload(1000, 'bye').toString('latin1'), '\x03\xe8bye');
    assert.equal(closePayload(4999, '').toString('hex'), '1387');
    assert.equal(closePayload(1005, 'ignored').length, 0);
  });

  test('has a long reason cut at the end of a character', () => {
    for (const character of ['x', 'é', '€', '🐸']) {
      for (let before = 0; before < 4; before++) {
        const reason = 'a'.repeat(before) + character.repeat(200);
        const payload = closePayload(1000, reason);
        const size = Buffer.byteLength(character);
        assert.ok(payload.length <= 125 && payload.length > 125 - size, String(payload.length));
        assert.ok(reason.startsWith(payload.toString('utf8', 2)));
      }
    }
  });
});
