/** The player plays the peer's side of every session of the corpus against our endpoint, an echo. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  closePayload,
  control,
  type Endpoint,
  endEndpoint,
  failEndpoint,
  message,
  nextEvent,
  ProtocolEvent,
  releaseMessage,
  startClosing,
} from '../../src/protocol/websocket/endpoint.ts';
import { newPlayer, nextAction, playReceived } from '../../src/scripts/player.ts';
import { type Received, showReceived } from '../../src/scripts/received.ts';
import { exampleKey, readCorpus, type Session } from '../support/corpus.ts';
import { setUpEndpoint } from '../support/endpointRun.ts';

/** Passes the peer's bytes to the endpoint. @returns the endpoint's answers */
function answers(endpoint: Endpoint, bytes: Buffer, closesOnMessage: boolean): Received[] {
  const input = { bytes, start: 0, end: bytes.length };
  const sent: Received[] = [];
  const send = (
    kind: Received['kind'],
    { bytes, start, end } = control as { bytes: Uint8Array; start: number; end: number },
  ) => sent.push({ kind, bytes: Buffer.from(bytes.subarray(start, end)) });
  for (;;) {
    switch (nextEvent(endpoint, input)) {
      case ProtocolEvent.NeedMore:
        return sent;
      case ProtocolEvent.Message:
        send(message.isText ? 'text' : 'binary', message);
        releaseMessage();
        if (!closesOnMessage) break;
        sent.push({ kind: 'close', bytes: closePayload(1001, 'going') });
        startClosing(endpoint);
        break;
      case ProtocolEvent.Ping:
        if (control.isReplyDue) send('pong');
        break;
      case ProtocolEvent.Close:
        if (control.isReplyDue) send('close');
        endEndpoint(endpoint);
        break;
      case ProtocolEvent.Failed:
        if (control.isReplyDue) send('close');
        failEndpoint(endpoint);
        break;
    }
  }
}

function playAgainst({ setup, script }: Session): void {
  const endpoint = setUpEndpoint(setup);
  // Transcripts always show the endpoint's side, even if the endpoint is a client.
  const key = setup.role === 'server' ? exampleKey : null;
  const player = newPlayer({ ...script, isStrict: true }, 'client', () => key);
  /** Bytes of an incomplete frame, not yet read by the endpoint. */
  let rest: Buffer = Buffer.alloc(0);
  for (;;) {
    const action = nextAction(player, 0);
    if (action.kind === 'send') {
      for (const answer of answers(endpoint, Buffer.concat([rest, action.bytes]), setup.closesOnMessage))
        playReceived(player, answer);
      rest = Buffer.alloc(0);
    } else if (action.kind === 'over') {
      const { outcome } = action;
      assert.ok(
        outcome.isEqual,
        outcome.isEqual ? '' : `line ${outcome.line}: expected ${outcome.expected}, got ${outcome.seen}`,
      );
      assert.deepEqual(player.backlog.map(showReceived), [], 'the transcript has every answer');
      return;
    } else assert.fail('the endpoint sends less than the transcript says');
  }
}

for (const { name, sessions } of readCorpus()) {
  describe(`the transcripts of the group ${name}`, () => {
    for (const session of sessions.filter(({ expected }) => expected !== undefined))
      test(`${session.name}: the endpoint answers as the transcript says`, () => playAgainst(session));
  });
}
