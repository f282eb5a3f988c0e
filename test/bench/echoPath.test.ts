import assert from 'node:assert/strict';
import { test } from 'node:test';
import { echoPath, filesOf } from './echoPath.ts';

const most = { functions: 45, files: 14 };

test('an echo of 32 bytes on a warm connection stays within its number of functions and files', async () => {
  const path = await echoPath();
  for (const stage of ['core/serverLoop.js: serverLoop', 'handlers/echo.js: message'])
    assert.ok(path.includes(stage), `${stage} is on the path`);
  assert.ok(path.length <= most.functions, `${path.length} functions:\n${path.join('\n')}`);
  assert.ok(
    filesOf(path).length <= most.files,
    `${filesOf(path).length} files:\n${filesOf(path).join('\n')}`,
  );
});
