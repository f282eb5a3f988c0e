/** The opened frame: its bits as RFC 6455 §5.2 draws them, its fields, and the rules of the chosen field with their source. */
import type { Breach, Field, FrameExplanation, HandshakeExplanation } from '../../explain/records.ts';
import type {
  ExplainedRule,
  ExplanationMessage,
  InspectedFrame,
  RulePlace,
} from '../../handlers/inspector/messages.ts';
import { spaced } from './compose.ts';
import { byId, make, setText } from './elements.ts';
import { addFields, charactersOf, kindOfField, newFigure } from './figure.ts';
import { contentOf, timeOf, typeOf } from './rows.ts';
import { appendVisible } from './visible.ts';

/** Bytes of a dump that are shown. */
const maxDumped = 4_096;

/** Something with rules: a field, a line of a handshake, or a breach. */
interface Explained {
  readonly title: string;
  readonly value: string;
  readonly meaning: string;
  readonly section: string;
  readonly rules: readonly string[];
  readonly isBreach?: boolean;
}

export interface ExplanationView {
  /** No frame is open. */
  clear(): void;
  /** Before its explanation has arrived. */
  begin(frame: InspectedFrame): void;
  show(message: ExplanationMessage): void;
  /** There is no explanation. */
  fail(why: string): void;
}

export function newExplanationView(): ExplanationView {
  const bytes = byId('bytes');
  const rulePanel = byId('rule');
  const summary = byId('opened-summary');
  let opened: InspectedFrame | undefined;

  const showExplained = (one: Explained, rules: Readonly<Record<string, ExplainedRule>>): void => {
    rulePanel.replaceChildren(...ruleElements(one, rules));
    rulePanel.scrollTop = 0;
  };

  /** A listbox whose rows choose the rules that are shown. @param cells the cells that each row lights */
  const newChoices = (
    items: readonly Explained[],
    rules: Readonly<Record<string, ExplainedRule>>,
    fill: (row: HTMLElement, index: number) => void,
    cells: ReadonlyMap<number, HTMLElement[]> = new Map(),
  ): { list: HTMLElement; choose: (index: number) => void } => {
    const list = make('div', 'choices');
    list.setAttribute('role', 'listbox');
    list.setAttribute('aria-label', 'Fields');
    list.tabIndex = 0;
    let current = 0;
    const rows = items.map((_, index) => {
      const row = make('div', 'choice-row');
      row.id = `field-${index}`;
      row.setAttribute('role', 'option');
      fill(row, index);
      row.addEventListener('click', () => choose(index));
      return row;
    });
    list.append(...rows);
    const light = (index: number | undefined, name: string): void => {
      for (const [at, own] of cells) for (const cell of own) cell.classList.toggle(name, at === index);
    };
    const choose = (index: number): void => {
      current = index;
      rows.forEach((row, at) => {
        row.setAttribute('aria-selected', String(at === index));
      });
      list.setAttribute('aria-activedescendant', `field-${index}`);
      light(index, 'chosen');
      showExplained(items[index]!, rules);
    };
    list.addEventListener('keydown', event => {
      const step = { ArrowDown: 1, ArrowUp: -1, Home: -items.length, End: items.length }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      choose(Math.min(items.length - 1, Math.max(0, current + step)));
      rows[current]!.scrollIntoView({ block: 'nearest' });
    });
    for (const [index, own] of cells)
      for (const cell of own) {
        cell.addEventListener('click', () => choose(index));
        cell.addEventListener('mouseenter', () => light(index, 'hovered'));
        cell.addEventListener('mouseleave', () => light(undefined, 'hovered'));
      }
    return { list, choose };
  };

  const showFrame = (
    frame: FrameExplanation,
    rules: Readonly<Record<string, ExplainedRule>>,
  ): HTMLElement[] => {
    const { fields, breach, missing } = frame;
    const unmasked = fields.find(({ name }) => name === 'Payload, unmasked')?.value;
    const plain = unmasked ?? fields.find(({ name }) => /^Payload(?! len)/.test(name))?.hex;
    const figure = newFigure();
    figure.setAttribute('role', 'img');
    figure.setAttribute('aria-label', `The bits of the frame: ${frame.summary}`);
    const cells = addFields(figure, fields, { start: frame.at, plain });
    const items = [...fields.map(ofField), ...(breach === undefined ? [] : [ofBreach(breach)])];
    const fill = (row: HTMLElement, index: number): void => {
      const field = fields[index];
      const { title, value, meaning } = items[index]!;
      row.classList.add(field === undefined ? 'breach' : kindOfField(field.name));
      row.append(
        make('span', 'field-name', title),
        make('span', 'field-value', value),
        make('span', 'field-meaning', meaning),
      );
    };
    const { list, choose } = newChoices(items, rules, fill, cells);
    if (breach !== undefined) markBreach(cells, fields, breach);
    const opcode = fields.findIndex(({ name }) => name === 'opcode');
    choose(breach === undefined ? Math.max(0, opcode) : items.length - 1);
    const note = missing > 0 ? [make('p', 'note', `Incomplete: at least ${missing} more bytes.`)] : [];
    return [figure, ...note, list];
  };

  const showHandshake = (
    { lines, accept, breaches, missing }: HandshakeExplanation,
    rules: Readonly<Record<string, ExplainedRule>>,
  ): HTMLElement[] => {
    const items: Explained[] = [
      ...lines.map(line => ({
        title: line.line,
        value: '',
        meaning: line.meaning,
        section: line.section,
        rules: (line as { rules?: readonly string[] }).rules ?? [],
      })),
      ...breaches.map(ofBreach),
    ];
    const fill = (row: HTMLElement, index: number): void => {
      const { title, meaning, isBreach } = items[index]!;
      row.classList.add(isBreach === true ? 'breach' : 'f-line');
      row.append(make('span', 'header-line', title), make('span', 'field-meaning', meaning));
    };
    const { list, choose } = newChoices(items, rules, fill);
    list.classList.add('lines');
    if (items.length > 0) choose(breaches.length > 0 ? lines.length : 0);
    const steps = accept.length === 0 ? [] : [make('h3', '', 'Sec-WebSocket-Accept')];
    const ordered = make('ol', 'steps');
    ordered.append(...accept.map(step => make('li', '', step)));
    return [
      list,
      ...steps,
      ...(accept.length === 0 ? [] : [ordered]),
      ...(missing > 0 ? [make('p', 'note', 'Incomplete.')] : []),
    ];
  };

  return {
    clear() {
      opened = undefined;
      setText(summary, '');
      bytes.replaceChildren(make('p', 'empty', 'Choose a frame to see its bits.'));
      rulePanel.replaceChildren();
    },
    begin(frame) {
      opened = frame;
      const sender = frame.direction === 'in' ? 'client' : 'server';
      setText(
        summary,
        `${typeOf(frame)}${frame.kind === 'end' ? '' : ` from the ${sender}`}, ${timeOf(frame.time)}`,
      );
      bytes.replaceChildren(make('p', 'empty', 'Loading…'));
      rulePanel.replaceChildren();
    },
    show({ explanation, rules, hex }) {
      if (opened === undefined) return;
      const parts =
        explanation.kind === 'frame'
          ? showFrame(explanation, rules)
          : explanation.kind === 'handshake'
            ? showHandshake(explanation, rules)
            : [make('p', 'note', explanation.why), dump(hex)];
      bytes.replaceChildren(...contentElements(opened), ...parts);
      if (explanation.kind === 'ignored') rulePanel.replaceChildren();
      bytes.scrollTop = 0;
    },
    fail(why) {
      if (opened === undefined) return;
      // A head needs no explanation.
      const note = opened.kind === 'head' ? [] : [make('p', 'note', why)];
      bytes.replaceChildren(...note, ...contentElements(opened, true));
      rulePanel.replaceChildren();
    },
  };
}

const ofField = ({ name, value, meaning, section, rules = [] }: Field): Explained => ({
  ...{ title: name, value, meaning, section, rules },
});

const ofBreach = ({ rule, response, section, rules = [] }: Breach): Explained => ({
  ...{ title: 'Broken rule', value: '', meaning: `${rule}. ${response}`, section, rules, isBreach: true },
});

/** Marks the cells with the byte that proves the breach. */
function markBreach(
  cells: ReadonlyMap<number, HTMLElement[]>,
  fields: readonly Field[],
  { at }: Breach,
): void {
  for (const [index, own] of cells) {
    const field = fields[index]!;
    if (field.at <= at && at < field.at + field.size)
      for (const cell of own) cell.classList.add('proves-breach');
  }
}

/** The content of a frame. @param isAlone whether there is no explanation. An explanation repeats the lines of a head. */
function contentElements(frame: InspectedFrame, isAlone = false): HTMLElement[] {
  const { kind, text, hex, isCut, contentLength, length, first = 0 } = frame;
  if ((kind === 'head' && !isAlone) || (text ?? hex ?? '') === '') return [];
  const isInflated = (first & 0x40) !== 0 && contentLength !== undefined;
  const name = isInflated
    ? `Inflated, ${contentLength} bytes`
    : contentLength !== undefined && contentLength > length
      ? `Message, ${contentLength} bytes`
      : 'Content';
  const box = text === undefined ? dump(hex ?? '') : make('pre', 'content-text');
  if (text !== undefined) appendVisible(box, contentOf(frame), true);
  if (isCut === true) box.append(make('span', 'tag', 'cut'));
  const row = make('div', 'whole-content');
  row.append(make('span', '', name), box);
  return [row];
}

/** Lines of bytes: offset, bytes, characters. Narrow panels have lines of 8 bytes, others of 16. */
function dump(hex: string): HTMLElement {
  const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  const digits = byId('bytes').clientWidth > 48 * rem ? 32 : 16;
  const lines: string[] = [];
  for (let at = 0; at < Math.min(hex.length, 2 * maxDumped); at += digits) {
    const line = hex.slice(at, at + digits);
    const offset = (at / 2).toString(16).padStart(4, '0');
    lines.push(`${offset}  ${spaced(line).padEnd((3 * digits) / 2 - 1)}  ${charactersOf(line).join('')}`);
  }
  const box = make('pre', 'content-text dump');
  box.textContent = lines.join('\n');
  return box;
}

/** The page of a section: `RFC 6455 §5.2`. */
function linkToSection(section: string): HTMLElement {
  const [, rfc, number] = /RFC (\d+) §(\d+(?:\.\d+)*)/.exec(section) ?? [];
  if (rfc === undefined) return make('span', '', section);
  const link = make('a', '', section);
  link.href = `https://www.rfc-editor.org/rfc/rfc${rfc}#section-${number}`;
  link.target = '_blank';
  link.rel = 'noreferrer';
  return link;
}

function ruleElements(
  { title, value, meaning, section, rules: ids, isBreach }: Explained,
  rules: Readonly<Record<string, ExplainedRule>>,
): HTMLElement[] {
  const heading = make('h3', isBreach === true ? 'alarm' : '', title);
  if (value !== '')
    heading.append(' ', make('code', '', value.length > 40 ? `${value.slice(0, 40)}…` : value));
  const about = make('p', '', meaning);
  about.append(' ');
  if (section !== '') about.append(linkToSection(section));
  return [heading, about, ...ids.flatMap(id => (rules[id] === undefined ? [] : oneRule(id, rules[id])))];
}

function oneRule(id: string, { section, statement, who, places, reason }: ExplainedRule): HTMLElement[] {
  const box = make('article', 'one-rule');
  const first = make('p', 'rule-head');
  first.append(make('b', 'rule-id', `[${id}]`), ' ', linkToSection(section), ' ', make('span', 'tag', who));
  box.append(first, make('p', 'statement', statement));
  if (reason !== undefined) box.append(make('p', 'soft', reason));
  for (const place of places) box.append(...placeElements(place));
  return [box];
}

function placeElements({ file, name, line, excerpt, excerptLine = line ?? 1 }: RulePlace): HTMLElement[] {
  const where = make('p', 'place');
  where.append(make('code', '', line === undefined ? file : `${file}:${line}`), ` ${name}`);
  if (excerpt === undefined) return [where];
  const code = make('pre', 'excerpt');
  const lines = excerpt.split('\n');
  const indents = lines.filter(text => text !== '').map(text => text.search(/\S|$/));
  const indent = Math.min(...indents);
  lines.forEach((text, i) => {
    const row = make('span', excerptLine + i === line ? 'code-line current' : 'code-line');
    row.append(make('span', 'line-number', String(excerptLine + i)), make('span', '', text.slice(indent)));
    code.append(row);
  });
  return [where, code];
}
