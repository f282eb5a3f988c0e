/** What peers say may stand in the log, but must not look like a line of it, or like an order to the terminal. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { test } from 'node:test';

const logModule = new URL('../../src/log/log.js', import.meta.url).href;

function logged(format: 'text' | 'json', level: string, calls: string): string {
  const script = `import { log, configureLog } from ${JSON.stringify(logModule)};
    configureLog(${JSON.stringify(level)}, ${JSON.stringify(format)}); ${calls}`;
  const { stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  return stderr;
}

const hostile =
  'bye\n2030-01-01T00:00:00.000Z error forged id=1\r\x1b[2J\x7f\x85\x9b2J\u2028\u2029\u202e level="error" end';

for (const format of ['text', 'json'] as const) {
  test(`in ${format}, no value can start a new line or control the terminal`, () => {
    const out = logged(
      format,
      'info',
      `log('info', 'closed', { id: 3, reason: ${JSON.stringify(hostile)} });`,
    );
    assert.equal(out.split('\n').length, 2);
    assert.ok(out.endsWith('\n'));
    const line = out.slice(0, -1);
    assert.doesNotMatch(line, /[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]/);
    if (format === 'json') assert.equal(JSON.parse(line).reason, hostile);
  });
}

test('a text line has time, level, event and fields, in this order', () => {
  const out = logged(
    'text',
    'info',
    `log('warn', 'refused', { id: 7, address: '[::1]:80', none: undefined, yes: true, reason: 'a "b" c=d' });`,
  );
  assert.match(out, /^\S+Z warn {2}refused id=7 address=\[::1\]:80 yes=true reason="a \\"b\\" c=d"\n$/);
});

test('an empty value is shown as ""', () => {
  assert.match(
    logged('text', 'info', `log('info', 'closed', { reason: '', code: 1 });`),
    / reason="" code=1\n$/,
  );
});

test('events below the configured level are not written', () => {
  const calls = `for (const level of ['error', 'warn', 'info', 'debug']) log(level, level + '-event');`;
  const out = logged('json', 'warn', calls);
  const events = out.trim().split('\n');
  assert.deepEqual(
    events.map(line => JSON.parse(line).event),
    ['error-event', 'warn-event'],
  );
});

test('the process keeps running after the reader of its log has left', () => {
  const script = `import { log } from ${JSON.stringify(logModule)};
    for (let i = 0; i < 10; i++) log('info', 'still here'); process.stdout.write('alive');`;
  const out = execFileSync('sh', ['-c', '"$0" --input-type=module -e "$1" 2>&-', process.execPath, script]);
  assert.equal(out.toString(), 'alive');
});
