/** The tables of the manual page `faults`. Run as a program, this file prints them, with the clients' current reactions. */
import { pathToFileURL } from 'node:url';
import { closingFaults } from '../../../src/handlers/faults/closing.ts';
import type { FaultKind } from '../../../src/handlers/faults/fault.ts';
import { frameFaults } from '../../../src/handlers/faults/frames.ts';
import { handshakeFaults } from '../../../src/handlers/faults/handshake.ts';
import { orderFaults } from '../../../src/handlers/faults/order.ts';
import { pingFaults } from '../../../src/handlers/faults/pings.ts';
import { timeFaults } from '../../../src/handlers/faults/time.ts';
import { observeReactions, type ReactionRow, type Reactions } from './reactions.ts';

const groups: readonly (readonly [title: string, faults: readonly FaultKind[]])[] = [
  ['Handshake', handshakeFaults],
  ['Frames', frameFaults],
  ['Closing', closingFaults],
  ['Time', timeFaults],
  ['Order', orderFaults],
  ['Pings', pingFaults],
];

/** The tables of faults, one section per group. */
export function faultSections(): string {
  const sections = groups.map(([title, kinds]) => {
    const head = ['| fault | what it does | default |', '|---|---|---|'];
    return [`### ${title}`, '', ...head, ...kinds.map(rowOf)].join('\n');
  });
  return sections.join('\n\n');
}

function rowOf({ name, sentence, parameters }: FaultKind): string {
  const { [name]: own, ...others } = parameters;
  const fault = own === undefined ? name : `${name}=${own.kind.placeholder}`;
  const further = Object.entries(others).map(([other, { kind }]) => `\`${other}=${kind.placeholder}\``);
  const usual = own?.default === undefined ? '' : own.kind.show(own.default);
  return `| \`${fault}\` | ${[sentence, ...further].join(', ')} | ${usual} |`;
}

/** The first line of the table of reactions. */
export function reactionHead([ws, websockets]: Reactions['versions']): string {
  return `| fault | ws ${ws} | websockets ${websockets} |`;
}

export function reactionLine({ fault, ws, websockets }: ReactionRow): string {
  return `| \`${fault}\` | ${cell(ws)} | ${cell(websockets)} |`;
}

/** Replaces characters that Markdown would interpret. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('*', '·').replaceAll('`', "'");
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { versions, rows } = await observeReactions();
  console.log(
    [faultSections(), '', reactionHead(versions), '|---|---|---|', ...rows.map(reactionLine)].join('\n'),
  );
}
