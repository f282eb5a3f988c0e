/** What telnet clients send beside text (RFC 854): commands and negotiations, each introduced by IAC. */

/** "Interpret as command": no byte of UTF-8. */
export const IAC = 0xff;

const SE = 0xf0;
const SB = 0xfa;
const WILL = 0xfb;
const WONT = 0xfc;
const DO = 0xfd;
const DONT = 0xfe;

/** Whether `bytes[start, end)` begin with a command of telnet; `undefined` while they may still turn out to. */
export function beginsTelnet(bytes: Buffer, start: number, end: number): boolean | undefined {
  if (bytes[start] !== IAC) return false;
  return end - start < 2 ? undefined : bytes[start + 1]! >= SE && bytes[start + 1] !== IAC;
}

/**
 * A line without telnet's commands. Every option that the client asks for or offers is refused, once, which leaves it at
 * plain text (RFC 854: an option is off until both sides agree).
 * @param line is left as it is
 * @returns the text, and the answer, which is mostly empty
 */
export function readTelnet(line: Buffer): { readonly text: Buffer; readonly answer: Buffer } {
  const text: number[] = [];
  const answer: number[] = [];
  for (let at = 0; at < line.length; at++) {
    const byte = line[at]!;
    const command = line[at + 1];
    if (byte !== IAC || command === undefined) {
      text.push(byte);
    } else if (command === IAC) {
      text.push(IAC);
      at++;
    } else if (command === SB) {
      const end = line.indexOf(Buffer.of(IAC, SE), at + 2);
      at = end < 0 ? line.length : end + 1;
    } else if (command >= WILL) {
      const option = line[at + 2];
      // DONT and WONT get no answer, so two sides never answer each other for ever.
      if (option !== undefined && command === DO) answer.push(IAC, WONT, option);
      if (option !== undefined && command === WILL) answer.push(IAC, DONT, option);
      at += 2;
    } else {
      at += command >= SE ? 1 : 0;
      if (command < SE) text.push(byte);
    }
  }
  return { text: Buffer.from(text), answer: Buffer.from(answer) };
}
