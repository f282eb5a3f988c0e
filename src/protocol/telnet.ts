/** Telnet (RFC 854): commands and option negotiation, each introduced by IAC, within text. */

/** "Interpret as command". This byte never occurs in UTF-8. */
export const IAC = 0xff;

const SE = 0xf0;
const SB = 0xfa;
const WILL = 0xfb;
const WONT = 0xfc;
const DO = 0xfd;
const DONT = 0xfe;

/** Whether `bytes[start, end)` start with a telnet command; `undefined` if there are too few bytes to tell. */
export function beginsTelnet(bytes: Buffer, start: number, end: number): boolean | undefined {
  if (bytes[start] !== IAC) return false;
  return end - start < 2 ? undefined : bytes[start + 1]! >= SE && bytes[start + 1] !== IAC;
}

/**
 * Removes telnet commands from a line. Every option that the client requests or offers is refused, which leaves plain text
 * (RFC 854: an option is off until both sides agree).
 * @returns the text, and the answer to send, which is usually empty
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
      // Answering DONT or WONT could start an endless exchange.
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
