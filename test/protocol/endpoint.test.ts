import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Opcode, type Role } from '../../src/protocol/codes.ts';
import { absoluteMaxMessage } from '../../src/protocol/limits.ts';
import { control, nextEvent, ProtocolEvent } from '../../src/protocol/websocket/endpoint.ts';
import { ioArena } from '../../src/protocol/websocket/mask.ts';
import {
  close,
  type EndpointSetup,
  fail,
  newRecord,
  plainServer,
  readEvents,
  setUpEndpoint,
} from '../support/endpointRun.ts';
import { closePayload, type FrameOptions, frame, opcode } from '../support/rawFrame.ts';

/** One end, and a peer that sends it frames as its role demands. */
function newEnd(setup: Partial<EndpointSetup> = {}) {
  const full = { ...plainServer, ...setup };
  const endpoint = setUpEndpoint(full);
  const record = newRecord(endpoint);
  const peerKey = full.role === 'server' ? {} : { key: null };
  return {
    endpoint,
    record,
    /** Gives the bytes to the endpoint. @returns how many it worked through */
    give: (bytes: Buffer) => readEvents(record, bytes),
    peer: (kind: keyof typeof opcode, payload: string | Buffer = '', options: FrameOptions = {}) =>
      frame(opcode[kind], payload, { ...peerKey, ...options }),
    /** What was written down since the last call. */
    events: () => record.lines.splice(0),
  };
}

for (const role of ['server', 'client'] as Role[]) {
  describe(`an endpoint that is a ${role}`, () => {
    test('delivers whole messages, and answers pings, in the order of arrival [5.2-b, 5.2-f, 5.2-g, 6.2-1, 6.2-3, 6.2-7]', () => {
      const { give, peer, events } = newEnd({ role });
      const bytes = Buffer.concat([
        peer('text', 'one'),
        peer('ping', 'two'),
        peer('binary', Buffer.from([3, 0xff])),
        peer('pong', 'four'),
      ]);
      assert.equal(give(bytes), bytes.length);
      assert.deepEqual(events(), ['text "one"', 'sends pong "two"', 'binary 03ff', 'pong "four"']);
    });

    test('leaves an incomplete header unread', () => {
      const { give, peer, events } = newEnd({ role });
      const whole = peer('text', 'x'.repeat(200));
      const header = role === 'server' ? 8 : 4;
      for (let length = 0; length < header; length++) assert.equal(give(whole.subarray(0, length)), 0);
      const two = Buffer.concat([peer('text', 'first'), whole.subarray(0, 3)]);
      assert.equal(give(two), two.length - 3);
      assert.deepEqual(events(), ['text "first"']);
    });

    test('leaves an incomplete control frame unread and unchanged', () => {
      const { give, peer, events } = newEnd({ role });
      const ping = peer('ping', 'x'.repeat(125));
      const partly = Buffer.from(ping.subarray(0, ping.length - 1));
      assert.equal(give(partly), 0);
      assert.deepEqual(partly, ping.subarray(0, ping.length - 1));
      assert.equal(give(ping), ping.length);
      assert.equal(events().length, 1);
    });

    test('reads an incomplete payload, and is inside a frame then', () => {
      const { give, peer, events, endpoint } = newEnd({ role });
      const whole = peer('text', 'Hello');
      const cut = whole.length - 3;
      assert.equal(give(Buffer.from(whole.subarray(0, cut))), cut);
      assert.equal(endpoint.incoming?.missing, 3);
      assert.equal(give(Buffer.from(whole.subarray(cut))), 3);
      assert.equal(endpoint.incoming, undefined);
      assert.deepEqual(events(), ['text "Hello"']);
    });

    test('stops after a message if its owner says so, and continues there', () => {
      const { give, peer, events, record } = newEnd({ role });
      const first = peer('text', 'first');
      const rest = [peer('text', 'sec', { fin: false }), peer('continuation', 'ond'), peer('ping')];
      const bytes = Buffer.concat([first, ...rest]);
      record.goesOn = false;
      assert.equal(give(bytes), first.length);
      assert.deepEqual(events(), ['text "first"']);
      const behind = bytes.subarray(first.length);
      assert.equal(give(behind), behind.length - rest[2]!.length);
      assert.deepEqual(events(), ['text "second"']);
      assert.equal(give(rest[2]!), rest[2]!.length);
      assert.deepEqual(events(), ['sends pong ""']);
    });

    test('answers a ping between the fragments of a message [5.2-a, 5.4-1, 5.4-5, 5.4-7, 6.2-2]', () => {
      const { give, peer, events } = newEnd({ role });
      give(peer('text', 'Hel', { fin: false }));
      give(peer('ping', 'now'));
      assert.deepEqual(events(), ['sends pong "now"']);
      give(peer('continuation', 'lo'));
      assert.deepEqual(events(), ['text "Hello"']);
    });

    test('answers a ping while OPEN only [5.5.2-2, 7.1.1-1, 7.1.7-6]', () => {
      const { record, give, peer, events } = newEnd({ role });
      close(record, 1000);
      events();
      give(peer('ping'));
      give(peer('pong'));
      assert.deepEqual(events(), ['pong ""']);
      fail(record, 1006, 'gone');
      events();
      const late = Buffer.concat([peer('ping'), peer('pong'), peer('text', 'late')]);
      assert.equal(give(late), late.length, 'what comes late is taken and dropped');
      assert.deepEqual(events(), []);
    });

    test('fails at the header, before the payload arrives [7.4.1-g, 10.4-1, 10.4-2]', () => {
      const { endpoint, give, peer, events } = newEnd({ role, maxMessage: 1000 });
      give(peer('binary', '', { announcedLength: 1001 }));
      assert.match(events().join(), /^sends close 1009 ".+",closed 1009 ".+"$/);
      assert.equal(endpoint.state, 'CLOSED');
      const other = newEnd({ role, maxMessage: 1000 });
      other.give(other.peer('binary', 'x'.repeat(1001)));
      assert.match(other.events().join(), /^sends close 1009 /);
    });

    test('fails at the header of a message that no memory can hold, with and without a limit', () => {
      for (const announcedLength of [absoluteMaxMessage + 1, 2 ** 32, 2 ** 53, 2 ** 62]) {
        const { give, peer, events } = newEnd({ role, maxMessage: Number.POSITIVE_INFINITY });
        give(peer('binary', '', { announcedLength }));
        assert.match(events().join(), /^sends close 1009 ".+",closed 1009 ".+"$/);
      }
    });

    test('delivers the messages before the fault, and none after it [7.1.7-4, 10.7-3]', () => {
      const { give, peer, events } = newEnd({ role });
      const bytes = Buffer.concat([
        peer('text', 'good'),
        peer('text', 'bad', { rsv: 1 }),
        peer('text', 'lost'),
      ]);
      assert.equal(give(bytes), bytes.length);
      assert.match(events().join(), /^text "good",sends close 1002 ".+",closed 1002 ".+"$/);
    });

    test('drops an unfinished message if the connection fails', () => {
      const { endpoint, record, give, peer } = newEnd({ role });
      give(peer('text', 'begun', { fin: false }));
      fail(record, 1011);
      assert.equal(endpoint.incoming, undefined);
    });
  });
}

test('an endpoint reads the same inside and outside of the memory of WebAssembly, at any offset', () => {
  for (const offset of [0, 1, 1000, 65_535]) {
    const { record, events, peer } = newEnd();
    const bytes = Buffer.concat([peer('text', 'Hällo'.repeat(50)), peer('ping', 'now')]);
    bytes.copy(ioArena, offset);
    const end = offset + bytes.length;
    assert.equal(readEvents(record, ioArena, offset, end), end);
    assert.match(events().join(), /^text .*,sends pong "now"$/);
  }
});

test('a message in one frame is not copied; one in fragments is [5.2-1]', () => {
  const { record, peer } = newEnd();
  const isInPlace: boolean[] = [];
  const bytes = Buffer.concat([
    peer('text', 'whole'),
    peer('text', 'frag', { fin: false }),
    peer('continuation', 'ments'),
  ]);
  record.onMessage = message => isInPlace.push(message.bytes === bytes);
  readEvents(record, bytes);
  assert.deepEqual(isInPlace, [true, false]);
});

test('the owner may close or fail the connection while it handles a message', () => {
  for (const [end, state, expected] of [
    [close, 'CLOSING', ['text "one"', 'sends close 1001 "enough"']],
    [fail, 'CLOSED', ['text "one"', 'sends close 1001 "enough"', 'closed 1001 "enough"']],
  ] as const) {
    const { endpoint, record, peer, give, events } = newEnd();
    record.onMessage = () => end(record, 1001, 'enough');
    const bytes = Buffer.concat([peer('text', 'one'), peer('text', 'two'), peer('ping')]);
    assert.equal(give(bytes), bytes.length);
    assert.equal(endpoint.state, state);
    assert.deepEqual(events(), expected);
  }
});

test('each frame is an event, and a frame that completes no message has an event of its own', () => {
  const { endpoint, peer } = newEnd();
  const bytes = Buffer.concat([peer('text', 'a', { fin: false }), peer('ping'), peer('continuation', 'b')]);
  const input = { bytes, start: 0, end: bytes.length };
  const found: number[] = [];
  while (found.at(-1) !== ProtocolEvent.NeedMore) found.push(nextEvent(endpoint, input));
  const { Frame, Ping, Message, NeedMore } = ProtocolEvent;
  assert.deepEqual(found, [Frame, Ping, Frame, Message, NeedMore]);
});

test('if only control frames are read, the reader stops before the next message and inside one', () => {
  const { endpoint, peer } = newEnd();
  const { Paused, Ping, Pong, Frame, NeedMore } = ProtocolEvent;
  const message = peer('text', 'Hello');
  const bytes = Buffer.concat([peer('ping'), peer('pong'), message]);
  const input = { bytes, start: 0, end: bytes.length - 1 };
  const next = (onlyControl: boolean) => nextEvent(endpoint, input, onlyControl);
  assert.deepEqual([next(true), next(true), next(true)], [Ping, Pong, Paused]);
  assert.equal(input.start, bytes.length - message.length);
  assert.deepEqual([next(false), next(false)], [Frame, NeedMore]);
  input.end++;
  assert.equal(next(true), Paused, 'the last byte is payload');
});

test('a server and a client understand each other', () => {
  const sent: Buffer[] = [];
  const { record, events } = newEnd({ role: 'client' });
  const server = newEnd();
  for (const [kind, payload] of [
    [Opcode.Ping, Buffer.from('to and fro')],
    [Opcode.Close, closePayload(1000, 'done')],
  ] as const) {
    const bytes = frame(kind, payload);
    nextEvent(server.endpoint, { bytes, start: 0, end: bytes.length });
    assert.equal(control.isReplyDue, true);
    const reply = Buffer.from(control.bytes.subarray(control.start, control.end));
    sent.push(frame(kind === Opcode.Ping ? Opcode.Pong : Opcode.Close, reply, { key: null }));
  }
  const bytes = Buffer.concat(sent);
  assert.equal(readEvents(record, bytes), bytes.length);
  assert.deepEqual(events(), ['pong "to and fro"', 'sends close 1000 ""', 'closed 1000 ""']);
});
