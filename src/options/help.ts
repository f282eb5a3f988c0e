import { flagName, type Option, type OptionName, optionEntries } from './table.ts';

const examples = `Examples:
  pollywog -p 8080 --host 127.0.0.1
  pollywog --listen unix:/run/pollywog.sock --origin https://example.com
  pollywog --default tpacket -p 25021 --data /var/lib/pollywog
  PORT=8080 POLLYWOG_LOG_FORMAT=json pollywog`;

const notes = `Sizes: 512KB, 16MB. Times: 500ms, 30s, 2m, 1h. 0 switches a limit off.
...: may be repeated. Environment: --max-message SIZE is POLLYWOG_MAX_MESSAGE.`;

/** The answer to `--help`: one screen of 80 columns and 46 lines, without a final newline. */
export function helpText(): string {
  const usages = optionEntries.map(([name, option]) => usage(name, option));
  const column = Math.max(...usages.map(line => line.length)) + 2;
  const lines = ['Usage: pollywog [OPTION]...', ''];
  let group = '';
  for (const [at, [, option]] of optionEntries.entries()) {
    if (option.group !== group) lines.push(`${option.group}:`);
    group = option.group;
    lines.push(usages[at]!.padEnd(column) + option.help + shownDefault(option));
  }
  return [...lines, '', notes, '', examples].join('\n');
}

function usage(name: OptionName, { short, kind, repeatable }: Option): string {
  const flags = `  ${short === undefined ? '   ' : `-${short},`} ${flagName(name)}`;
  return kind.placeholder === '' ? flags : `${flags} ${kind.placeholder}${repeatable ? '...' : ''}`;
}

function shownDefault(option: Option): string {
  if (option.kind.placeholder === '') return '';
  const values: readonly unknown[] = Array.isArray(option.default) ? option.default : [option.default];
  return values.length === 0 ? '' : ` [${values.map(value => option.kind.show(value)).join(', ')}]`;
}
