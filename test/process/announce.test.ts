import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linkTo } from '../../src/process/announce.ts';

test('a listener is shown as a link that a browser on this machine can open', () => {
  for (const [url, hasTls, link] of [
    ['ws://[::]:8080', false, 'http://localhost:8080'],
    ['ws://0.0.0.0:8080', false, 'http://localhost:8080'],
    ['ws://[::]:443', true, 'https://localhost:443'],
    ['wss://[::]:8443', true, 'https://localhost:8443'],
    ['ws://127.0.0.1:80', false, 'http://127.0.0.1:80'],
    ['ws://[::1]:8080', false, 'http://[::1]:8080'],
    ['ws://192.168.1.7:8080', true, 'https://192.168.1.7:8080'],
    ['unix:/run/pollywog.sock', true, 'unix:/run/pollywog.sock'],
    ['fd:3', false, 'fd:3'],
    ['tcp://127.0.0.1:2323', true, 'tcp://127.0.0.1:2323'],
  ] as const) {
    assert.equal(linkTo(url, hasTls), link);
  }
});
