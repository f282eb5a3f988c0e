/** The chat, said in lines for a terminal: what people say as `nick: text`, all else after a `*`, or a `!`. */
import { withDots } from '../../log/printable.ts';
import type { Voice } from './room.ts';

const line = (text: string) => Buffer.from(`${text}\n`);

/**
 * Text as it may be shown in a terminal: nothing in it is taken for a command, and its further lines are set in, so that
 * no one can be made to say what they did not.
 */
export function printable(text: string): string {
  return withDots(text.replace(/\r?\n/g, '\n    '), '\n');
}

export const lineVoice: Voice = {
  // It is on their screen already.
  hearsItself: false,
  granted: () => Buffer.alloc(0),
  refused: (_, why) => line(`! ${why}`),
  came: ({ nick }) => line(`* ${nick.text} is here`),
  left: ({ nick }) => line(`* ${nick.text} left`),
  said: ({ nick }, text) => line(`${nick.text}: ${printable(Buffer.from(text).toString('utf8'))}`),
  logged: text => line(printable(text.toString('utf8'))),
};
