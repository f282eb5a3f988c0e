/** The client's program: options → configuration → dial → session. */
import { readFileSync } from 'node:fs';
import { printableLine } from '../log/printable.ts';
import { UsageError } from '../options/error.ts';
import { checkProcessText } from '../options/text.ts';
import { readClientConfiguration } from './configuration.ts';
import { clientHelp } from './options.ts';
import { ExitCode } from './outcome.ts';
import { untilPrinted } from './output.ts';
import { runClient } from './run.ts';

async function main(): Promise<number> {
  const argv = process.argv.slice(2);
  checkProcessText(argv, {});
  const configuration = readClientConfiguration(argv);
  if (configuration === 'help') return print(clientHelp());
  if (configuration === 'version') return print(version());
  if (configuration.replay !== undefined) {
    const { runReplay } = await import('./recordings/replay.ts');
    return runReplay(configuration);
  }
  if (configuration.conformance === undefined) return runClient(configuration);
  // Loaded only if needed: the cases take longer to load than a session takes to start.
  const { runConformance } = await import('./conformance/conformance.ts');
  return runConformance(configuration);
}

function print(text: string): number {
  process.stdout.write(`${text}\n`);
  return ExitCode.Done;
}

function version(): string {
  const file = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}

let code: number;
try {
  code = await main();
} catch (error) {
  process.stderr.write(`pollywog-client: ${printableLine((error as Error).message)}\n`);
  code = error instanceof UsageError ? ExitCode.Usage : ExitCode.Failed;
}
await untilPrinted();
// An open stdin would keep the process alive.
process.exit(code);
