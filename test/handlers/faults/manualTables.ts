/** The tables of the manual page `faults`. Run as a program, this prints them, with what the two clients do now. */
import { pathToFileURL } from 'node:url';
import type { FaultKind, Stage } from '../../../src/handlers/faults/fault.ts';
import { faults } from '../../../src/handlers/faults/table.ts';
import { observeReactions, type Reactions } from './reactions.ts';

const titles: Readonly<Record<Stage, string>> = {
  handshake: 'Handshake',
  frames: 'Frames',
  closing: 'Closing',
  time: 'Time and rate',
  rate: 'Time and rate',
  order: 'Order',
  pings: 'Pings',
};

/** The faults, a section for each kind. */
export function faultSections(): string {
  const rows = new Map<string, string[]>();
  for (const kind of faults.values()) {
    const title = titles[kind.stage];
    rows.set(title, [...(rows.get(title) ?? []), rowOf(kind)]);
  }
  return [...rows]
    .map(([title, lines]) =>
      [`### ${title}`, '', '| fault | what the server does | default |', '|---|---|---|', ...lines].join(
        '\n',
      ),
    )
    .join('\n\n');
}

function rowOf({ name, sentence, parameters }: FaultKind): string {
  const { [name]: own, ...others } = parameters;
  const fault = own === undefined ? name : `${name}=${own.kind.placeholder}`;
  const further = Object.entries(others).map(([other, { kind }]) => `\`${other}=${kind.placeholder}\``);
  const usual = own?.default === undefined ? '' : own.kind.show(own.default);
  return `| \`${fault}\` | ${[sentence, ...further].join(', ')} | ${usual} |`;
}

export function reactionTable({ versions, rows }: Reactions): string {
  return [
    `| fault | ws ${versions.ws} | websockets ${versions.websockets} |`,
    '|---|---|---|',
    ...rows.map(({ fault, ws, websockets }) => `| \`${fault}\` | ${cell(ws)} | ${cell(websockets)} |`),
  ].join('\n');
}

/** What an application sees has characters that Markdown would read. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('*', '·').replaceAll('`', "'");
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  console.log(`${faultSections()}\n\n${reactionTable(await observeReactions())}`);
}
