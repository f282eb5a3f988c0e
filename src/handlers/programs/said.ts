/** What a program said, checked: it must not make us send what no one may send. */
import { isUtf8 } from 'node:buffer';
import { CloseCode, isSendableCloseCode } from '../../protocol/codes.ts';
import { maxRecipients } from '../../protocol/limits.ts';
import type { Said } from './format.ts';

const nothing = Buffer.alloc(0);

/** @throws Error, a sentence, where a text is not UTF-8 */
export function messageSaid(
  to: Said['to'],
  isText: boolean,
  bytes: Buffer,
  start: number,
  end: number,
): Said {
  if (isText && !isUtf8(bytes.subarray(start, end))) throw new Error('a text that is not UTF-8');
  return { what: isText ? 'text' : 'binary', to, bytes, start, end, code: 0, reason: '' };
}

/** @throws Error, a sentence, where the code must not be sent */
export function closeSaid(to: Said['to'], code: number = CloseCode.NormalClosure, reason = ''): Said {
  if (!isSendableCloseCode(code)) throw new Error(`close code ${code}, which must not be sent`);
  return { what: 'close', to, bytes: nothing, start: 0, end: 0, code, reason };
}

/** @throws Error, a sentence, where these are no ids, or too many */
export function checkRecipients(ids: readonly unknown[]): readonly number[] {
  if (ids.length > maxRecipients) throw new Error(`more than ${maxRecipients} recipients`);
  if (!ids.every(id => Number.isSafeInteger(id))) throw new Error('an id that is no whole number');
  return ids as readonly number[];
}
