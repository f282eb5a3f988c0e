/** The closing handshake, RFC 6455 §5.5.1 and §7, in every order. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isSendableCloseCode } from '../../src/protocol/codes.ts';
import { closePayload } from '../../src/protocol/websocket/endpoint.ts';
import type { Role } from '../../src/protocol/websocket/frame.ts';
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
    test('the peer begins: its code is echoed, and that is the end', () => {
      const end = newEnd(role);
      end.give('close', peerClose(4001, 'bye'));
      assert.deepEqual(end.events(), ['sends close 4001 ""', 'closed 4001 "bye"']);
      assert.equal(end.endpoint.state, 'CLOSED');
    });

    test('we begin: the connection is CLOSING until the peer answers', () => {
      const end = newEnd(role);
      end.startClosing(1001, 'going away');
      assert.equal(end.endpoint.state, 'CLOSING');
      assert.deepEqual(end.events(), ['sends close 1001 "going away"']);
      end.give('close', peerClose(1001));
      assert.equal(end.endpoint.state, 'CLOSED');
      assert.deepEqual(end.events(), ['closed 1001 ""']);
    });

    test('both begin at once: each takes the other close frame for the answer', () => {
      const end = newEnd(role);
      end.startClosing(1000);
      end.give('close', peerClose(3000, 'me, too'));
      assert.deepEqual(end.events(), ['sends close 1000 ""', 'closed 3000 "me, too"']);
    });

    test('messages that come while CLOSING are read, and dropped', () => {
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

    test('rules hold while CLOSING, too, but the fault is not told: our close frame is out', () => {
      const end = newEnd(role);
      end.startClosing(1000);
      end.give('text', 'bad', { rsv: 2 });
      assert.match(end.events().join(), /^sends close 1000 "",closed 1002 ".+"$/);
      assert.equal(end.endpoint.state, 'CLOSED');
    });

    test('a close frame may come within a fragmented message, which is dropped', () => {
      const end = newEnd(role);
      end.give('text', 'begun', { fin: false });
      end.give('close', peerClose(1000));
      assert.deepEqual(end.events(), ['sends close 1000 ""', 'closed 1000 ""']);
      assert.equal(end.endpoint.incoming, undefined);
    });

    test('nothing that follows a close frame is looked at, a second one neither', () => {
      const end = newEnd(role);
      end.give('close', peerClose(1000));
      end.events();
      end.give('text', 'late');
      end.give('ping');
      end.give('close', peerClose(1002));
      end.give('text', 'against all rules', { rsv: 7 });
      assert.deepEqual(end.events(), []);
    });

    test('closing twice sends one close frame; closing what is CLOSED none', () => {
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

    test('failing says why, once, and does not wait', () => {
      const end = newEnd(role);
      end.failConnection(1011, 'a fault');
      assert.equal(end.endpoint.state, 'CLOSED');
      end.failConnection(1002, 'another');
      assert.deepEqual(end.events(), ['sends close 1011 "a fault"', 'closed 1011 "a fault"']);
    });

    test('failing while CLOSING ends it without another close frame', () => {
      const end = newEnd(role);
      end.startClosing(1000);
      end.events();
      end.failConnection(1002, 'a fault');
      assert.deepEqual(end.events(), ['closed 1002 "a fault"']);
    });

    test('an empty close frame has the code 1005, and is answered by an empty one', () => {
      const end = newEnd(role);
      end.give('close');
      // The recorder shows 1005 for a close frame without a code.
      assert.deepEqual(end.events(), ['sends close 1005 ""', 'closed 1005 ""']);
    });

    test('half a close code is refused', () => {
      const end = newEnd(role);
      end.give('close', Buffer.from([0x03]));
      assert.match(end.events().join(), /^sends close 1002 ".+",closed 1002/);
    });

    test('a close frame of 125 bytes has a reason of 123', () => {
      const end = newEnd(role);
      end.give('close', peerClose(1000, 'x'.repeat(123)));
      assert.deepEqual(end.events(), ['sends close 1000 ""', `closed 1000 "${'x'.repeat(123)}"`]);
    });

    test('every code from 0 to 65535 is answered, or refused, as the registry has it', () => {
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

    test('a reason that is not UTF-8, or ends inside a character, is refused with 1007', () => {
      for (const hex of ['ff', '80', 'c328', 'eda080', 'c3', 'e282', 'f09f90', `${'61'.repeat(120)}e282`]) {
        const end = newEnd(role);
        end.give('close', peerClose(1000, Buffer.from(hex, 'hex')));
        assert.match(end.events().join(), /^sends close 1007 ".+",closed 1007/, hex);
      }
    });
  });
}

describe('closePayload', () => {
  test('is the code and the reason, or nothing for 1005', () => {
    assert.equal(closePayload(1000, 'bye').toString('latin1'), '\x03\xe8bye');
    assert.equal(closePayload(4999, '').toString('hex'), '1387');
    assert.equal(closePayload(1005, 'ignored').length, 0);
  });

  test('cuts a long reason where a character ends', () => {
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
