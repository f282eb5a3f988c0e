/** Which path's rule decides who may open a handler. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectNeed } from '../../src/access/needs.ts';

test("the rule for a path below the handler's applies to all encodings of the path", () => {
  const below = { right: 'connect', path: '/game/vip', parentPath: '/game' };
  for (const path of ['/game/vip', '/%67ame/vip', '/game%2Fvip', '/game/%76ip/'])
    assert.deepEqual(connectNeed('game', path), below, path);
  for (const path of ['/', '/game', '/game/', '/gamer/vip', '/Game/vip', '/%zz'])
    assert.deepEqual(connectNeed('game', path), { right: 'connect', path: '/game' }, path);
});

test("an ambiguous path below the handler's is refused", () => {
  for (const path of ['/game/../vip', '/game//vip', '/game/%2e/vip', '/%67ame/..%2Fvip', '/game/%zz'])
    assert.throws(() => connectNeed('game', path), { code: 400 }, path);
});
