/** The message field: Enter sends, the field grows with the draft, and the draft survives a reload. */
import { loadItem, saveItem } from './store.ts';

export interface Composer {
  /** Restores the draft of this room. */
  enter(room: string): void;
}

/** @param send gets each message, which is never blank */
export function newComposer(
  form: HTMLFormElement,
  field: HTMLTextAreaElement,
  send: (text: string) => void,
): Composer {
  let room = '';
  /** Sent messages, which the arrow keys bring back; `recalled` counts from the end. */
  const sent: string[] = [];
  let recalled = 0;

  const draftChanged = (): void => {
    saveItem(`draft ${room}`, field.value || undefined);
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

  /** Replaces nothing that could be lost: the field must be empty, or hold an unchanged recalled message. */
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
    // Enter also ends the composition of a character, for instance in Japanese.
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
      field.value = loadItem<string>(`draft ${room}`) ?? '';
      draftChanged();
      field.focus();
    },
  };
}
