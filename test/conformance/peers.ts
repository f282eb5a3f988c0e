/** `make conformance`: all cases against this server, and all but the large ones against others, with a line for each fault. */
import { startServer } from '../support/serverProcess.ts';
import { echoServers } from './echoServers.ts';
import { runReport } from './runReport.ts';

const hooks: (() => Promise<void> | void)[] = [];
const own = await startServer();
hooks.push(() => own.kill());
const urls: [name: string, url: string][] = [['pollywog', `ws://127.0.0.1:${own.port}/echo`]];
for (const [name, start] of Object.entries(echoServers)) {
  urls.push([name, await start({ after: hook => void hooks.push(hook) })]);
}
for (const [name, url] of urls) {
  const started = performance.now();
  const cases = await runReport(url, ...(name === 'pollywog' ? [] : ['--quick']));
  const bad = cases.filter(({ verdict }) => verdict === 'FAILED' || verdict === 'NON-STRICT');
  for (const each of bad) {
    console.log(`${name}: ${each.verdict} ${each.name}: expected ${each.expected}; saw ${each.seen}`);
  }
  const failed = bad.filter(({ verdict }) => verdict === 'FAILED').length;
  const time = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `${name}: ${cases.length} cases in ${time} s, ${failed} FAILED, ${bad.length - failed} NON-STRICT`,
  );
  if (name === 'pollywog' && bad.length > 0) process.exitCode = 1;
}
for (const hook of hooks) await hook();
