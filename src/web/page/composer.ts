/** Where one writes: Enter sends, the field grows with the draft, and a draft outlives a reload. */
import { remember, remembered } from './store.ts';

export interface Composer {
  /** Begins with the draft that was left in this room. */
  enter(room: string): void;
}

/** @param send takes what was written, which is not blank */
export function newComposer(
  form: HTMLFormElement,
  field: HTMLTextAreaElement,
  send: (text: string) => void,
): Composer {
  let room = '';
  /** What was sent, to be called back with the arrow keys; `recalled` counts from its end. */
  const sent: string[] = [];
  let recalled = 0;

  const draftChanged = (): void => {
    remember(`draft ${room}`, field.value || undefined);
    field.style.height = 'auto';
    field.style.height = `${field.scrollHeight}px`;
  };

  const submit = (): void => {
    const text = field.value.trimEnd();
    if (text.trim() === '') return;
    sent.push(text);
    recalled = 0;
    field.value = '';
    draftChanged();
    send(text);
  };

  /** Only where nothing can be lost: the field is empty, or holds what was called back. */
  const recall = (step: 1 | -1): boolean => {
    const current = recalled === 0 ? '' : sent.at(-recalled);
    const next = recalled + step;
    if (field.value !== current || next < 0 || next > sent.length) return false;
    recalled = next;
    field.value = recalled === 0 ? '' : sent.at(-recalled)!;
    draftChanged();
    return true;
  };

  field.addEventListener('input', draftChanged);
  field.addEventListener('keydown', event => {
    // Enter also ends the composing of a character, in Japanese for one.
    if (event.isComposing) return;
    const isEnter = event.key === 'Enter' && !event.shiftKey;
    if (isEnter) submit();
    const isRecalled =
      (event.key === 'ArrowUp' && recall(1)) || (event.key === 'ArrowDown' && recalled > 0 && recall(-1));
    if (isEnter || isRecalled) event.preventDefault();
  });
  form.addEventListener('submit', event => {
    event.preventDefault();
    submit();
    field.focus();
  });

  return {
    enter(name) {
      room = name;
      field.value = remembered<string>(`draft ${room}`) ?? '';
      draftChanged();
      field.focus();
    },
  };
}
