/** `pollywog checkconfig`: checks a configuration and the files that it names, as a start does, but opens no server. */

import { readKeys } from '../access/keys.ts';
import { readTokens } from '../access/tokens.ts';
import { checkFaultWords } from '../handlers/faults/faults.ts';
import { newConformanceHandlers } from '../handlers/handlers.ts';
import { listModules } from '../handlers/modules/load.ts';
import { checkProgram } from '../handlers/programs/executable.ts';
import { readScripts } from '../handlers/scripts/folder.ts';
import { readIdentities } from '../net/tls.ts';
import { type Configuration, readConfiguration } from '../options/configuration.ts';
import type { Environment } from '../options/environment.ts';
import { openSite } from '../wires/static/site.ts';

/**
 * Checks a configuration file, or without one, everything that the server would read.
 * @param handlers names for `default-handler`
 * @returns a sentence that says so, if all is valid
 * @throws UsageError
 */
export async function checkConfiguration(
  file: string | undefined,
  env: Environment,
  handlers: readonly string[],
  usualFiles: readonly string[],
): Promise<string> {
  // A named file is checked by itself, without the environment.
  const configuration =
    file === undefined
      ? readConfiguration([], env, handlers, usualFiles)
      : readConfiguration(['--config', file], {}, handlers);
  checkFaultWords(configuration);
  await checkFiles(configuration);
  await newConformanceHandlers({ configuration });
  const { configFile } = configuration;
  return configFile === undefined
    ? `no configuration file (looked for ${usualFiles.join(' and ')}): the defaults are valid`
    : `${configFile} is valid`;
}

/** Modules are listed, but not loaded, because that would run their code. @throws UsageError */
async function checkFiles(configuration: Configuration): Promise<void> {
  const { authKey, exec, execShared, static: site, staticFollow, script, handlers } = configuration;
  await readIdentities(configuration);
  readTokens(configuration);
  readKeys(authKey);
  for (const program of [...exec, ...execShared]) checkProgram(program);
  if (script !== '') readScripts(script);
  if (handlers !== '') await listModules(handlers);
  if (site !== '') openSite(site, staticFollow);
}
