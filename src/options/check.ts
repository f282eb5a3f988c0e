import { readConfiguration } from './configuration.ts';
import type { Environment } from './environment.ts';
import { checkTls } from './tls.ts';

/**
 * Reads a configuration file as the server would, and does nothing with it; without one, all that the server would read.
 * @param handlers the names that `default` may have
 * @returns a sentence: it is good
 * @throws UsageError where it is not
 */
export function checkConfiguration(
  file: string | undefined,
  env: Environment,
  handlers: readonly string[],
  usualFiles: readonly string[],
): string {
  // A file is good or not by itself: what the environment adds is not its matter.
  const configuration =
    file === undefined
      ? readConfiguration([], env, handlers, usualFiles)
      : readConfiguration(['--config', file], {}, handlers);
  checkTls(configuration);
  const { configFile } = configuration;
  return configFile === undefined
    ? `there is no configuration file (looked for ${usualFiles.join(' and ')}): the defaults are good`
    : `${configFile} is good`;
}
