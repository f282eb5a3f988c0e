/** The workbench: a client of this server whose frames are built by hand. */
import type {
  InspectedHandler,
  PageMessage,
  ServerMessage,
  WelcomeMessage,
} from '../../handlers/inspector/messages.ts';
import {
  closePayload,
  type Draft,
  type Example,
  fieldsOf,
  frameOf,
  hexOf,
  invalidExamples,
  type LengthForm,
  opcodes,
  parseHex,
  spaced,
  validExamples,
} from './compose.ts';
import { byId, counted, make, setText } from './elements.ts';
import { addCell, addFields, newFigure } from './figure.ts';
import { newList } from './list.ts';
import { type FrameRow, fillFrame } from './rows.ts';

/** Rows of the conversation that are kept. */
const maxRows = 1_000;
/** Bytes of the draft that are shown in hexadecimal digits. */
const maxShownBytes = 64;

type PayloadForm = 'text' | 'hex' | 'close' | 'raw';

export interface WorkbenchEvents {
  send(message: PageMessage): void;
  /** The connection is open on the server's side. */
  connected(serial: number): void;
}

export interface Workbench {
  welcome(message: WelcomeMessage): void;
  apply(message: ServerMessage): void;
  /** The connection to the server was lost, and with it those of the workbench. */
  lost(): void;
  redraw(): void;
}

export function newWorkbench({ send, connected }: WorkbenchEvents): Workbench {
  const path = byId<HTMLInputElement>('path');
  const subprotocols = byId<HTMLInputElement>('subprotocols');
  const connectButton = byId<HTMLButtonElement>('connect');
  const sendButton = byId<HTMLButtonElement>('send');
  const endButtons = [byId<HTMLButtonElement>('fin'), byId<HTMLButtonElement>('reset')];
  const payload = byId<HTMLTextAreaElement>('payload');
  const code = byId<HTMLInputElement>('code');
  const example = byId<HTMLSelectElement>('example');
  const problem = byId('bench-problem');
  const composer = newComposer();
  let handlers: readonly InspectedHandler[] = [];
  /** The current connection: the page chooses its id. */
  let id = 0;
  let state: 'none' | 'opening' | 'open' = 'none';
  /** Of the open connection. */
  let facts = '';
  let sentBytes = 0;
  let rows: FrameRow[] = [];
  let lastKey = 0;

  const list = newList<FrameRow>({
    element: byId('answer-list'),
    keyOf: ({ key }) => key,
    fill: fillFrame,
    onSelect: () => {},
  });

  const add = (...added: Omit<FrameRow, 'key' | 'visit'>[]): void => {
    rows.push(...added.map(row => ({ ...row, key: ++lastKey, visit: 0 })));
    const surplus = Math.max(0, rows.length - maxRows);
    rows.splice(0, surplus);
    list.show(rows, surplus);
  };

  const showProblem = (text: string): void => {
    setText(problem, text);
    if (text !== '') problem.scrollIntoView({ block: 'nearest' });
  };

  const setState = (next: typeof state, text: string): void => {
    state = next;
    setText(byId('bench-state'), text);
    setText(connectButton, next === 'none' ? 'Connect' : next === 'opening' ? 'Cancel' : 'Disconnect');
    sendButton.disabled = next !== 'open';
    for (const button of endButtons) button.disabled = next !== 'open';
  };

  byId('dial').addEventListener('submit', event => {
    event.preventDefault();
    if (state !== 'none') return send({ type: 'shut', id, isReset: state === 'opening' });
    rows = [];
    list.show(rows);
    list.follow();
    showProblem('');
    setState('opening', `Connecting to ${path.value}`);
    send({
      type: 'open',
      id: ++id,
      path: path.value.startsWith('/') ? path.value : `/${path.value}`,
      subprotocols: subprotocols.value.split(/[\s,]+/).filter(name => name !== ''),
      isCompressed: byId<HTMLInputElement>('compress').checked,
      headers: fieldsIn(byId<HTMLTextAreaElement>('fields').value),
    });
  });
  path.addEventListener('change', () => {
    const handler = handlers.find(one => one.path === path.value);
    if (handler !== undefined) subprotocols.value = handler.subprotocols[0] ?? '';
  });
  byId('fin').addEventListener('click', () => send({ type: 'shut', id }));
  byId('reset').addEventListener('click', () => send({ type: 'shut', id, isReset: true }));

  const form = (): PayloadForm =>
    document.querySelector<HTMLInputElement>('input[name=form]:checked')!.value as PayloadForm;
  const setForm = (value: PayloadForm): void => {
    document.querySelector<HTMLInputElement>(`input[name=form][value=${value}]`)!.checked = true;
  };

  /** @returns the payload, or the mistake in the input, a sentence */
  const typedPayload = (): Uint8Array | string => {
    if (form() === 'text') return new TextEncoder().encode(payload.value);
    if (form() === 'close') {
      const number = Number(code.value);
      return /^\d+$/.test(code.value) && number <= 0xffff
        ? closePayload(number, payload.value)
        : 'A close code is a number from 0 to 65535.';
    }
    return parseHex(payload.value) ?? 'Bytes are pairs of hexadecimal digits, such as 48 65 6c.';
  };

  /** Draws the bytes to be sent. @returns them in hexadecimal digits; undefined if the input has a mistake */
  const draw = (): string | undefined => {
    const bytes = typedPayload();
    code.hidden = form() !== 'close';
    showProblem(typeof bytes === 'string' ? bytes : '');
    if (typeof bytes === 'string') return undefined;
    const hex = form() === 'raw' ? hexOf(bytes) : composer.draw(bytes);
    byId('draft').hidden = form() === 'raw';
    const shown =
      hex.length > 2 * maxShownBytes ? `${spaced(hex.slice(0, 2 * maxShownBytes))} …` : spaced(hex);
    setText(byId('draft-bytes'), `${counted(hex.length / 2, 'byte')}: ${shown}`);
    return hex;
  };

  byId('compose').addEventListener('submit', event => {
    event.preventDefault();
    const hex = draw();
    if (hex === undefined || state !== 'open') return;
    send({ type: 'send', id, hex });
    sentBytes += hex.length / 2;
    setText(byId('bench-state'), `${facts} · ${counted(sentBytes, 'byte')} sent`);
    // Each frame has a new key, RFC 6455 §5.3.
    composer.newKey();
    draw();
  });
  payload.addEventListener('keydown', event => {
    if (event.key !== 'Enter' || event.shiftKey) return;
    event.preventDefault();
    byId<HTMLFormElement>('compose').requestSubmit();
  });
  byId('compose').addEventListener('input', event => {
    if (event.target !== example) draw();
  });

  const groups = [
    ['Valid', validExamples],
    ['Invalid', invalidExamples],
  ] as const;
  const all: readonly Example[] = groups.flatMap(([, examples]) => examples);
  for (const [label, examples] of groups) {
    const group = make('optgroup');
    group.label = label;
    group.append(...examples.map(one => new Option(one.name, String(all.indexOf(one)))));
    example.append(group);
  }
  example.addEventListener('change', () => {
    const chosen = all[Number(example.value)]!;
    setForm(chosen.code !== undefined ? 'close' : chosen.hex !== undefined ? 'hex' : 'text');
    if (chosen.code !== undefined) code.value = String(chosen.code);
    payload.value = chosen.hex ?? chosen.text ?? '';
    composer.use(chosen);
    draw();
  });
  draw();
  setState('none', 'Not connected.');

  return {
    welcome(message) {
      ({ handlers } = message);
      const channels = message.channels.map(name => `/channels/${encodeURIComponent(name)}`);
      const paths = [...handlers.map(one => one.path), ...channels];
      byId('paths').replaceChildren(...paths.map(one => new Option(one)));
      const names = new Set(handlers.flatMap(one => one.subprotocols));
      byId('protocols').replaceChildren(...[...names].map(name => new Option(name)));
    },
    apply(message) {
      if (!('id' in message) || message.id !== id) return;
      if (message.type === 'opened') {
        const { serial, subprotocol, isCompressed } = message;
        const parts = [`Open, #${serial}`, subprotocol, isCompressed ? 'permessage-deflate' : ''];
        facts = parts.filter(part => part !== '').join(', ');
        sentBytes = 0;
        setState('open', facts);
        connected(serial);
      } else if (message.type === 'answer') {
        add(...message.frames.map(frame => ({ frame })));
      } else if (message.type === 'shut') {
        if (message.response !== undefined) add({ note: message.response.split('\r\n', 1)[0]! });
        add({ note: 'The connection has ended' });
        setState('none', message.why);
      } else if (message.type === 'failed') {
        showProblem(message.why);
        if (message.about === 'open') setState('none', 'Not connected.');
      }
    },
    lost() {
      if (state !== 'none') add({ note: 'The inspector was disconnected from the server' });
      setState('none', 'Not connected.');
    },
    redraw: () => list.redraw(),
  };
}

/** @param text a field a line: `Name: value` */
function fieldsIn(text: string): Record<string, string> {
  const lines = text.matchAll(/^[ \t]*([^:\n]+?)[ \t]*:[ \t]*(.*?)[ \t]*$/gm);
  return Object.fromEntries(Array.from(lines, ([, name = '', value = '']) => [name, value]));
}

interface Composer {
  /** @returns the frame in hexadecimal digits */
  draw(bytes: Uint8Array): string;
  use(example: Example): void;
  newKey(): void;
}

/** The figure in which bits are switched by hand, and the inputs below it. */
function newComposer(): Composer {
  const figure = newFigure();
  const toggles = ['FIN', 'RSV1', 'RSV2', 'RSV3', 'MASK'].map((name, index) => {
    const cell = addCell(figure, name, index < 4 ? index : 8, 1);
    const button = make('button', 'toggle');
    button.type = 'button';
    button.setAttribute('aria-label', name);
    button.title = `${name}: switches the bit`;
    const value = make('span', 'cell-bits');
    button.append(make('span', 'cell-name', name), value);
    cell.append(button);
    const set = (is: boolean): void => {
      button.setAttribute('aria-pressed', String(is));
      value.textContent = is ? '1' : '0';
    };
    button.addEventListener('click', () => {
      set(button.getAttribute('aria-pressed') !== 'true');
      button.dispatchEvent(new Event('input', { bubbles: true }));
    });
    return { set, is: () => button.getAttribute('aria-pressed') === 'true' };
  });
  const [fin, rsv1, rsv2, rsv3, mask] = toggles as [Toggle, Toggle, Toggle, Toggle, Toggle];
  const opcodeCell = addCell(figure, 'opcode', 4, 4);
  const opcode = make('select');
  opcode.setAttribute('aria-label', 'Opcode');
  for (let number = 0; number < 16; number++)
    opcode.append(new Option(`${number.toString(16)} ${opcodes.get(number) ?? 'reserved'}`, String(number)));
  opcodeCell.append(make('span', 'cell-name', 'opcode'), opcode);

  const strip = make('div', 'bar strip');
  const labelled = <E extends HTMLElement>(text: string, element: E): E => {
    const label = make('label', '', text);
    label.append(element);
    strip.append(label);
    return element;
  };
  const length = labelled('Length', make('input'));
  length.placeholder = 'payload’s';
  length.inputMode = 'numeric';
  length.title = 'The length that the header states, true or not';
  const form = labelled('in', make('select'));
  for (const [text, value] of [
    ['the fewest bits', ''],
    ['7 bits', '7'],
    ['16 bits', '16'],
    ['64 bits', '64'],
  ])
    form.append(new Option(text, value));
  form.setAttribute('aria-label', 'Bits of the length');
  const key = labelled('Key', make('input'));
  key.maxLength = 8;
  key.spellcheck = false;
  byId('draft').append(figure, strip);

  const newKey = (): void => {
    key.value = hexOf(crypto.getRandomValues(new Uint8Array(4)));
  };
  const use = (example: Example): void => {
    fin.set(example.isFinal ?? true);
    const [first, second, third] = example.rsv ?? [false, false, false];
    rsv1.set(first);
    rsv2.set(second);
    rsv3.set(third);
    mask.set(example.isMasked ?? true);
    opcode.value = String(example.opcode ?? 1);
    form.value = String(example.form ?? '');
    length.value = example.length === undefined ? '' : String(example.length);
  };
  use(validExamples[0]!);
  newKey();

  return {
    draw(bytes) {
      const draft: Draft = {
        isFinal: fin.is(),
        rsv: [rsv1.is(), rsv2.is(), rsv3.is()],
        opcode: Number(opcode.value),
        isMasked: mask.is(),
        key: key.value,
        form: form.value === '' ? undefined : (Number(form.value) as LengthForm),
        length: /^\d{1,20}$/.test(length.value) ? BigInt(length.value) : undefined,
        payload: bytes,
      };
      const fields = fieldsOf(draft);
      for (const cell of figure.querySelectorAll('.drawn, .cell-rest')) cell.remove();
      const lengthOn = fields.slice(fields.findIndex(({ name }) => name === 'Payload len'));
      for (const cells of addFields(figure, lengthOn, { start: 0, plain: hexOf(bytes) }).values())
        for (const cell of cells) cell.classList.add('drawn');
      return frameOf(fields);
    },
    use,
    newKey,
  };
}

interface Toggle {
  set(is: boolean): void;
  is(): boolean;
}
