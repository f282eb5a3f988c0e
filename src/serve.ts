/** The server: options → configuration → listeners → serverLoop. */

import { print, runCommandLine } from './commands/cli.ts';
import { commandNames } from './commands/help.ts';
import { reloadAndLog } from './commands/reload.ts';
import { runStdinCommands } from './commands/stdin.ts';
import { newServer } from './core/server.ts';
import { drainServer } from './core/shutdown.ts';
import { handlerNames } from './handlers/handlers.ts';
import { catchUncaught } from './handlers/modules/module.ts';
import { modulesOf } from './handlers/modules/modules.ts';
import { log } from './log/log.ts';
import { printableLine } from './log/printable.ts';
import { openListeners, prepareServer, runServer } from './open.ts';
import { type Configuration, readConfiguration } from './options/configuration.ts';
import { Exit, UsageError } from './options/error.ts';
import { checkStdin } from './options/file.ts';
import { helpText } from './options/help.ts';
import { defaultPaths, logPath } from './options/paths.ts';
import { checkProcessText } from './options/text.ts';
import { announceListeners, drainOutput, notified } from './process/announce.ts';
import { findParent, startDaemon } from './process/daemon.ts';
import { makeDefaultFolders, openLogFile, openPidFile } from './process/files.ts';
import { deferReload, installSignalHandlers } from './process/signals.ts';
import { maxDescriptors, version } from './process/system.ts';

const argv = process.argv.slice(2);
const usual = defaultPaths(process.env, process.getuid?.());
/** The process that waits until this daemon listens. */
const parent = findParent();

/** Reads the configuration, at the start and at every reload. */
function readAgain(): Configuration {
  return readConfiguration(argv, process.env, handlerNames, usual.configFiles);
}

/** Runs the server until it ends the process. @returns the exit code, if there was nothing to serve */
async function serve(): Promise<number> {
  const configuration = readAgain();
  if (configuration.action === 'help') return print(helpText(commandNames()));
  if (configuration.action === 'version') return print(version());
  if (configuration.stdin) checkStdin();
  deferReload();
  makeDefaultFolders(configuration, usual);
  if (configuration.daemon && parent === undefined) return startDaemon(logPath(configuration, usual));
  const server = newServer(configuration, maxDescriptors());
  openLogFile(server, usual);
  openPidFile(server, usual);
  if (configuration.handlers !== '') catchUncaught(() => modulesOf(server));
  const prepared = await prepareServer(server, { places: usual, readAgain });
  installSignalHandlers({
    isDraining: () => server.isDraining,
    drain: signal => drainServer(server, signal),
    reload: () => void reloadAndLog(server, readAgain, 'SIGHUP'),
  });
  const listeners = await openListeners(prepared);
  if (configuration.stdin) void runStdinCommands(prepared.control);
  await announceListeners(listeners, configuration, parent);
  await runServer(prepared);
  log('info', 'stopped');
  await notified();
  await drainOutput();
  // Ends even if stdin is open or a module has pending work.
  process.exit(Exit.Done);
}

// The server keeps running after the readers of stdout and stderr have left.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

try {
  checkProcessText(argv, process.env);
  process.exitCode = (await runCommandLine(argv, process.env, usual, handlerNames)) ?? (await serve());
} catch (error) {
  const { message } = error as Error;
  const exitCode = error instanceof UsageError ? Exit.Usage : Exit.Failed;
  process.stderr.write(`pollywog: ${printableLine(message)}\n`);
  await parent?.failed(message, exitCode);
  process.exit(exitCode);
}
