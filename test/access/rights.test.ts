/** The table of rights: which line decides, and what it decides. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Access, Identity } from '../../src/access/records.ts';
import { channelPath, decide } from '../../src/access/rights.ts';
import { allowRule } from '../../src/options/rules.ts';
import { parsePattern } from '../../src/protocol/pattern.ts';

function table(...lines: string[]): Access {
  return {
    rules: lines.map(line => allowRule.parse(line)!),
    keys: [],
    issuer: '',
    audience: '',
    tokenCookie: '',
  };
}

function patterns(...sources: string[]) {
  return sources.map(source => {
    const pattern = parsePattern(source);
    assert.ok(typeof pattern !== 'string', `${source}: ${pattern}`);
    return pattern;
  });
}

function userOf(user: string, more: Partial<Identity> = {}): Identity {
  return { user, means: 'token', subscribe: [], publish: [], expiresAt: undefined, ...more };
}

describe('without rules', () => {
  test('anyone may connect and subscribe, only commands publish, and nobody sees names', () => {
    const decided = (['connect', 'subscribe', 'publish', 'presence'] as const).map(right => {
      const { isAllowed, rule, who } = decide(table(), right, '/channels/x', undefined);
      return [right, isAllowed, rule, who];
    });
    assert.deepEqual(decided, [
      ['connect', true, 'default', 'anyone'],
      ['subscribe', true, 'default', 'anyone'],
      ['publish', false, 'default', 'commands'],
      ['presence', false, 'default', 'nobody'],
    ]);
  });
});

describe('a table of rights', () => {
  test('decides by the first line that covers the path and names the right', () => {
    const access = table(
      '/channels/a: publish=subscribers',
      '/channels/*: subscribe=user',
      '/channels/a: subscribe=nobody',
    );
    const decision = decide(access, 'subscribe', channelPath('a'), undefined);
    assert.equal(decision.rule, '/channels/*: subscribe=user');
    assert.deepEqual([decision.needsIdentity, decision.refusal], [true, 'identify']);
    assert.equal(decide(access, 'subscribe', channelPath('a'), userOf('17')).isAllowed, true);
    assert.equal(decide(access, 'subscribe', channelPath('a/b'), undefined).rule, 'default');
  });

  test("gives a user only the channel with the user's name", () => {
    const access = table('/channels/user-{user}: subscribe=user');
    const may = (name: string, user?: string) =>
      decide(access, 'subscribe', channelPath(name), user === undefined ? undefined : userOf(user)).refusal;
    assert.equal(may('user-17', '17'), undefined);
    assert.equal(may('user-18', '17'), 'forbid');
    assert.equal(may('user-17'), 'identify');
    assert.equal(may('user-', '17'), 'forbid');
  });

  test('requires a token that lists the channel for WHO=token', () => {
    const access = table('/channels/**: subscribe=token publish=token', '/quiz: connect=token');
    const identity = userOf('17', { subscribe: patterns('orders-*'), publish: patterns('notes') });
    const may = (right: 'subscribe' | 'publish', name: string) =>
      decide(access, right, channelPath(name), identity).isAllowed;
    assert.deepEqual(
      [may('subscribe', 'orders-1'), may('subscribe', 'notes'), may('publish', 'notes')],
      [true, false, true],
    );
    assert.equal(decide(access, 'connect', '/quiz', identity).isAllowed, true);
    assert.equal(decide(access, 'connect', '/quiz', undefined).refusal, 'identify');
  });

  test('lets only subscribers of a channel publish in it for publish=subscribers', () => {
    const access = table('/channels/chat-*: publish=subscribers');
    assert.equal(decide(access, 'publish', channelPath('chat-1'), undefined, true).isAllowed, true);
    assert.equal(decide(access, 'publish', channelPath('chat-1'), undefined, false).refusal, 'forbid');
  });
});
