/** The meanings of opcodes, lengths and close codes, in words. */
import { Opcode } from '../protocol/codes.ts';

export const opcodeMeanings: ReadonlyMap<number, string> = new Map([
  [Opcode.Continuation, 'continues the message of the frames before it'],
  [Opcode.Text, 'starts a text message, in UTF-8'],
  [Opcode.Binary, 'starts a binary message'],
  [Opcode.Close, 'starts or answers the closing handshake'],
  [Opcode.Ping, 'asks for a pong with the same payload'],
  [Opcode.Pong, 'answers a ping, or is an unsolicited heartbeat'],
]);

export const lengthMeanings: ReadonlyMap<number, string> = new Map([
  [126, 'the length is in the next 2 bytes'],
  [127, 'the length is in the next 8 bytes'],
]);

/** The names of close codes (RFC 6455 §7.4.1). */
const codes: ReadonlyMap<number, string> = new Map([
  [1000, 'normal closure'],
  [1001, 'going away'],
  [1002, 'protocol error'],
  [1003, 'unsupported data'],
  [1004, 'reserved'],
  [1005, 'no status received: never on the wire'],
  [1006, 'abnormal closure: never on the wire'],
  [1007, 'invalid payload data'],
  [1008, 'policy violation'],
  [1009, 'message too big'],
  [1010, 'mandatory extension'],
  [1011, 'internal error'],
  [1012, 'service restart'],
  [1013, 'try again later'],
  [1014, 'bad gateway'],
  [1015, 'TLS handshake failed: never on the wire'],
]);

export function meaningOfCode(code: number): string {
  const known = codes.get(code);
  if (known !== undefined) return known;
  if (code < 1000) return 'not used';
  if (code < 3000) return 'reserved for the protocol and its extensions';
  if (code < 4000) return 'a code of a library or framework, registered with IANA';
  return code < 5000 ? 'a private code of the application' : 'not a close code';
}

/** The receiver's duty after a broken rule, a sentence. @param code for its close frame */
export function responseTo(code: number): string {
  return `The receiver must fail the connection (RFC 6455 §7.1.7): it may send a close frame with the code ${code} (${codes.get(code)}), reads nothing more, and closes the TCP connection.`;
}
