/** What `help` prints: the commands and the subjects of the manual, or one of them. */
import { faults } from '../handlers/faults/table.ts';
import { isChapter, readPage, subjects } from '../manual/pages.ts';
import { plainText, terminalText } from '../manual/terminal.ts';
import { nearest, quoted, UsageError } from '../options/error.ts';
import { wrap } from '../options/help.ts';
import { flagName, type OptionTable } from '../options/option.ts';
import { optionEntries } from '../options/table.ts';
import { allowedOptions } from './allowed.ts';
import { checkOptions, checkSilence } from './check.ts';
import type { Command, Parameter } from './command.ts';
import { commands, usage } from './commands.ts';
import { explainOptions } from './explain.ts';

/** A command that runs in the calling program, without a running server. */
interface LocalCommand {
  readonly usage: string;
  readonly help: string;
  /** Further sentences for `help COMMAND`. */
  readonly details?: string;
  readonly options?: OptionTable;
}

const localCommands: ReadonlyMap<string, LocalCommand> = new Map([
  ['help', { usage: 'help [COMMAND|SUBJECT]', help: 'print a command or a page of the manual' }],
  ['defaultconfig', { usage: 'defaultconfig', help: 'print a configuration with all defaults' }],
  ['checkconfig', { usage: 'checkconfig [FILE]', help: 'check a configuration and its files' }],
  [
    'check',
    {
      usage: 'check URL',
      help: 'find faults on the way to a server',
      details: `Connects as a browser does, through the proxy: name, port, certificate, WebSocket, compression, event stream, long poll, and ${checkSilence / 1000} seconds without a message. For each fault it prints the lines that repair nginx, Apache, HAProxy and Caddy. Exits with 1 if it finds a fault.`,
      options: checkOptions,
    },
  ],
  [
    'allowed',
    {
      usage: 'allowed USER PATH',
      help: "show a user's rights, and their rules",
      details:
        'Prints each right on the path, such as /channels/orders, and the line of --allow that grants or denies it. USER is - for a client without a user. Reads the configuration, and asks no server. See: pollywog help access.',
      options: allowedOptions,
    },
  ],
  [
    'inspect',
    {
      usage: 'inspect',
      help: 'open the inspector of a running server',
      details:
        'Prints a link for a browser on this machine, which works once, and forwards the page to the control socket until Ctrl-C. The server needs no --inspect. See: pollywog help inspector.',
    },
  ],
  [
    'explain',
    {
      usage: 'explain HEX|FILE|-',
      help: 'explain each byte of frames and heads',
      details:
        'Takes hexadecimal digits, a file of digits or bytes, a capture of one connection (pcap, pcapng), or stdin. Names the first rule that a frame breaks, and the byte that proves it. See: pollywog help explain.',
      options: explainOptions,
    },
  ],
]);

/** The commands, a line each. */
export function commandLines(): string[] {
  const entries = [
    ...[...commands.values()].map(command => [usage(command), command.help] as const),
    ...[...localCommands.values()].map(({ usage, help }) => [usage, help] as const),
  ];
  const width = Math.max(...entries.map(([words]) => words.length));
  return entries.map(([words, help]) => `  ${words.padEnd(width)}  ${help}`);
}

/** The commands under a heading, for the man page. */
export function commandSection(): string[] {
  return ['Commands:', ...commandLines()];
}

/** The names of the commands, also of those that need no server. */
export function allCommandNames(): string[] {
  return [...commands.keys(), ...localCommands.keys()];
}

/** The names of the commands for `--help`, which has no room for a line each. */
export function commandNames(): string[] {
  return wrap(`${allCommandNames().join(', ')}. See "pollywog help".`, '  ', 'Commands: ');
}

/** The answer to `help` without a word. */
export function helpOverview(): string {
  const pages = subjects()
    .filter(subject => !isChapter(subject))
    .map(readPage);
  const width = Math.max(...pages.map(({ subject }) => subject.length));
  return [
    'Usage: pollywog COMMAND [WORD]... [--json] [--control FILE]',
    '',
    ...commandLines(),
    '',
    'Subjects of the manual:',
    ...pages.map(({ subject, summary }) => `  ${subject.padEnd(width)}  ${plainText(summary)}`),
    '',
    'pollywog help COMMAND prints what a command takes; pollywog help SUBJECT prints',
    'a page of the manual; pollywog --help lists the options of the server.',
  ].join('\n');
}

/** The answer to `help WORD`. A command comes before the page of the same name. @throws UsageError */
export function helpOn(word: string): string {
  const local = localHelp(word);
  if (local !== undefined) return local;
  const command = commands.get(word);
  const known = subjects();
  const page = known.includes(word) ? terminalText(readPage(word).markdown) : undefined;
  if (command !== undefined)
    return [commandHelp(command), ...(page === undefined ? [] : [page])].join('\n\n');
  if (page !== undefined) return page;
  throw new UsageError(`unknown command or subject ${quoted(word)}; ${adviceOn(word, known)}`);
}

/** Prints `help faults --json`; no other subject has a JSON form. @throws UsageError */
export function helpInJson(word: string | undefined): string {
  if (word !== 'faults') throw new UsageError('only help faults has a JSON form; leave out --json');
  const rows = [...faults.values()].map(({ name, sentence, stage, needsFrames, parameters }) => ({
    name,
    sentence,
    stage,
    needsFrames,
    parameters: Object.entries(parameters).map(([parameter, { kind, default: usual }]) => ({
      name: parameter,
      expected: kind.expected,
      default: usual === undefined ? null : kind.show(usual),
    })),
  }));
  return JSON.stringify(rows, null, 2);
}

function adviceOn(word: string, known: readonly string[]): string {
  if (optionEntries.some(([name]) => flagName(name) === `--${word}`))
    return 'it is an option: see pollywog --help';
  const likely = nearest(word, [...allCommandNames(), ...known]);
  return likely === undefined ? 'pollywog help lists them all' : `did you mean ${likely}?`;
}

/** `undefined` if the command runs on the server, or does not exist. */
export function localHelp(name: string): string | undefined {
  const command = localCommands.get(name);
  if (command === undefined) return undefined;
  const { usage, help, details, options = {} } = command;
  const entries = Object.entries(options).map(
    ([name, { kind, help }]) => `  ${`${flagName(name)} ${kind.placeholder}`.padEnd(14)}  ${help}`,
  );
  return [
    `Usage: pollywog ${usage}${entries.length === 0 ? '' : ' [OPTION]...'}`,
    `  ${help}`,
    ...(details === undefined ? [] : [wrap(details, '  ').join('\n')]),
    ...(entries.length === 0 ? [] : [['Options:', ...entries].join('\n')]),
  ].join('\n\n');
}

export function commandHelp(command: Command): string {
  const { help, details, columns, isReadOnly } = command;
  const parameters = Object.entries(command.parameters);
  const sections = [[`  ${help}`, ...(details === undefined ? [] : ['', ...wrap(details, '  ')])]];
  if (parameters.length > 0) {
    const entries = parameters.flatMap(([name, { kind, optional, isOption, orBytes }]) => {
      if (isOption) return optionHelp(name, kind);
      const notes = `${orBytes ? ', or bytes with --binary FILE' : ''}${optional ? ' (optional)' : ''}`;
      return wrap(`${kind.placeholder.padEnd(10)}  ${name}: ${kind.expected}${notes}`, ' '.repeat(14), '  ');
    });
    sections.push(['Parameters, each with its name in JSON and forms:', ...entries]);
  }
  if (isReadOnly) sections.push(['  The token of --read-token allows this command.']);
  if (columns !== undefined) {
    sections.push(wrap(`Columns, and fields with --json: ${Object.keys(columns).join(', ')}.`, '  ', ''));
  }
  return [`Usage: pollywog ${usage(command)}`, ...sections.map(lines => lines.join('\n'))].join('\n\n');
}

function optionHelp(name: string, { placeholder, expected }: Parameter['kind']): string[] {
  const words = placeholder === '' ? flagName(name) : `${flagName(name)} ${placeholder}`;
  return wrap(`${words.padEnd(10)}  ${name}: ${expected} (optional)`, ' '.repeat(14), '  ');
}
