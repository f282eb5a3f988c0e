/** The log as a stream of events: each watcher gets every line, also if stderr gets none, and a slow one delays nobody. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configureLog, isLogged, log, watchLog } from '../../src/log/log.ts';

/** Watches into a list. */
function lines(): { heard: string[]; hear: (line: string) => boolean } {
  const heard: string[] = [];
  return { heard, hear: line => heard.push(line) > 0 };
}

test('debug lines are logged while there is a watcher, and `isLogged` is false otherwise', () => {
  configureLog('error', 'text');
  assert.ok(!isLogged('debug'));
  const { heard, hear } = lines();
  const stop = watchLog(hear);
  assert.ok(isLogged('debug'));
  log('debug', 'connected', { id: 7 });
  stop();
  assert.ok(!isLogged('warn'));
  log('debug', 'connected', { id: 8 });
  assert.equal(heard.length, 1);
  assert.match(heard[0]!, /^\S+Z debug connected id=7\n$/);
});

test('each watcher has its own level and format', () => {
  configureLog('error', 'text');
  const [text, json] = [lines(), lines()];
  const stops = [watchLog(text.hear, 'info', 'text'), watchLog(json.hear, 'warn', 'json')];
  log('info', 'frame', { id: 1, way: '<' }, 'id=1 < text, 0 bytes');
  log('warn', 'slow consumer closed', { id: 2 });
  for (const stop of stops) stop();
  assert.match(
    text.heard.join(''),
    /^\S+Z info {2}frame id=1 < text, 0 bytes\n\S+Z warn {2}slow consumer closed id=2\n$/,
  );
  assert.equal(json.heard.length, 1);
  const { time, ...rest } = JSON.parse(json.heard[0]!);
  assert.ok(!Number.isNaN(Date.parse(time)));
  assert.deepEqual(rest, { level: 'warn', event: 'slow consumer closed', id: 2 });
});

test('a watcher that could not take lines is told how many it lost', () => {
  configureLog('error', 'text');
  const { heard, hear } = lines();
  let isFull = false;
  const stop = watchLog(line => !isFull && hear(line), 'info', 'json');
  log('info', 'one');
  isFull = true;
  for (let i = 0; i < 5; i++) log('info', 'lost');
  isFull = false;
  log('info', 'two');
  log('info', 'three');
  stop();
  const events = heard.map(line => JSON.parse(line) as { event: string; count?: number });
  assert.deepEqual(
    events.map(({ event }) => event),
    ['one', 'two', 'lines lost', 'three'],
  );
  assert.equal(events[2]!.count, 5);
});

test('lines logged by a watcher’s callback do not reach watchers, which would be endless', () => {
  configureLog('error', 'text');
  const heard: string[] = [];
  const watch = (name: string) =>
    watchLog(line => {
      heard.push(`${name} ${line.split(' ')[3]?.trim()}`);
      log('info', 'sent');
      return true;
    }, 'info');
  const stops = [watch('a'), watch('b')];
  log('info', 'said');
  for (const stop of stops) stop();
  assert.deepEqual(heard, ['a said', 'b said']);
});
