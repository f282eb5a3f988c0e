import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, type TestContext } from 'node:test';
import { readClientConfiguration } from '../../src/client/configuration.ts';
import { runReplay } from '../../src/client/recordings/replay.ts';
import { parseRecording } from '../../src/recordings/recording.ts';
import { startWs } from '../client/clientProcess.ts';
import { chromiumHar } from '../support/har.ts';
import { connectRaw } from '../support/rawClient.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { exampleCode, newWorkshop, runLines, runShell, testExamples, type Workshop } from './examples.ts';

const code = (mark: string) => exampleCode('recordings', mark);

let shared: Promise<Workshop> | undefined;
after(async () => (await shared)?.server?.kill());

/** Keeps the server running after the test that starts it. */
const lasting = { after() {} } as unknown as TestContext;

/** A workshop for all examples: its server records, and echo.jsonl is recorded. */
function recordedWorkshop(): Promise<Workshop> {
  shared ??= (async () => {
    const workshop = newWorkshop({ 'page.har': chromiumHar('ws://localhost:8080') });
    await runShell(lasting, workshop, code('sh pollywog --record'));
    await runLines(workshop, code('sh --record echo.jsonl'));
    return workshop;
  })();
  return shared;
}

testExamples('recordings', {
  'sh pollywog --record': async () => {
    const { folder } = await recordedWorkshop();
    const [file = ''] = readdirSync(join(folder, 'recordings'));
    assert.match(file, /^\d{8}-\d{6}-\d{3}-\d+\.jsonl$/);
  },

  'sh --record echo.jsonl': async () => {
    const { folder } = await recordedWorkshop();
    const { events } = parseRecording('echo', readFileSync(join(folder, 'echo.jsonl'), 'utf8'));
    assert.equal(events.filter(({ kind }) => kind === 'frame').length, 6);
  },

  'sh pollywog-client ws://localhost:8080 --replay echo.jsonl': async (_, example) => {
    assert.equal(await runLines(await recordedWorkshop(), example), code('output compared: equal'));
  },
  'output compared: equal': () => {},

  'output good bye': async (t, example) => {
    const url = await startWs(t, socket => {
      socket.on('message', data => socket.send(String(data).replace('bye', 'good bye')));
    });
    const workshop = await recordedWorkshop();
    const printed = await runLines(
      workshop,
      `pollywog-client ${url} --replay echo.jsonl 2>&1 || test $? = 1`,
    );
    assert.equal(printed, example);
  },

  'sh --replay recordings --speed max': async (_, example) => {
    assert.match(await runLines(await recordedWorkshop(), example), /^replayed \d+ sessions?: .*: equal\n$/);
  },

  'sh page.har': async (_, example) => {
    assert.match(await runLines(await recordedWorkshop(), example), /^replayed 2 sessions: .*: equal\n$/);
  },

  // The last example for this server: it turns recording off.
  'sh pollywog record 7': async (_, example) => {
    const workshop = await recordedWorkshop();
    const client = await connectRaw(workshop.server!.port, { path: '/echo' });
    const [{ id }] = JSON.parse(await runLines(workshop, 'pollywog list --json'));
    const printed = await runLines(workshop, example.replace('7', id));
    assert.match(printed, /^recorded: \d+\nfile: .*recordings\/[\d-]+\.jsonl\nrecorded: -\n$/);
    client.destroy();
  },

  'sh --replay recordings --faults': () => {},
  'sh hullo': async (t, example) => {
    const { folder } = await recordedWorkshop();
    const workshop = newWorkshop();
    mkdirSync(join(workshop.folder, 'recordings'));
    copyFileSync(join(folder, 'echo.jsonl'), join(workshop.folder, 'recordings/echo.jsonl'));
    await runShell(t, workshop, code('sh --replay recordings --faults'));
    const printed = await runLines(workshop, `${example.trimEnd()} 2>&1 || true`);
    assert.equal(printed, code('output closed 4409'));
  },
  'output closed 4409': () => {},

  jsonl: async (_, example) => {
    const file = join(temporaryFolder(), 'shown.jsonl');
    writeFileSync(file, example);
    const { server } = await recordedWorkshop();
    const configuration = readClientConfiguration([`ws://127.0.0.1:${server!.port}`, '--replay', file]);
    assert.ok(typeof configuration === 'object');
    let printed = '';
    const print = (text: string) => {
      printed += text;
    };
    assert.equal(await runReplay(configuration, { out: print, error: print }), 0, printed);
  },
});
