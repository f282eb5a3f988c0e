import { closePayload, frame, opcode } from '../support/rawFrame.ts';
import { answer, type Case, runCases } from './runCases.ts';

const { text, binary, close, ping } = opcode;
const hello = 'Hello, world!';
const chops = ['together', 'each', 1] as const;

/** Alone, behind a message and before a ping: the message is echoed, the ping is not answered. */
function everyWay(group: string, what: string, bad: Buffer): Case[] {
  const alone = chops.map(
    (chopped, index): Case => ({
      id: `${group}.${index + 1}`,
      does: `refuses ${what} (sent ${wording(chopped)})`,
      sends: [bad],
      chopped,
      failsWith: 1002,
    }),
  );
  const between = chops.map(
    (chopped, index): Case => ({
      id: `${group}.${index + 4}`,
      does: `echoes messages before ${what} and ignores those behind it (sent ${wording(chopped)})`,
      sends: [frame(text, hello), bad, frame(ping, 'ping')],
      chopped,
      answers: [answer(text, hello)],
      failsWith: 1002,
    }),
  );
  const header: Case = {
    id: `${group}.7`,
    does: `refuses ${what} on its first byte`,
    sends: [bad.subarray(0, 1)],
    failsWith: 1002,
  };
  return [...alone, ...between, header];
}

function wording(chopped: (typeof chops)[number]): string {
  return chopped === 'together' ? 'in one write' : chopped === 'each' ? 'frame by frame' : 'byte by byte';
}

const reservedBits = [
  everyWay('3.1', 'a text with RSV 1', frame(text, hello, { rsv: 1 })),
  everyWay('3.2', 'a text with RSV 2', frame(text, hello, { rsv: 2 })),
  everyWay('3.3', 'a text with RSV 3', frame(text, hello, { rsv: 3 })),
  everyWay('3.4', 'a text with RSV 4, without compression,', frame(text, hello, { rsv: 4 })),
  everyWay('3.5', 'a binary message with RSV 5', frame(binary, hello, { rsv: 5 })),
  everyWay('3.6', 'a ping with RSV 6', frame(ping, hello, { rsv: 6 })),
  everyWay('3.7', 'a close frame with RSV 7', frame(close, closePayload(1000), { rsv: 7 })),
  everyWay('3.8', 'an empty text with RSV 4, without compression,', frame(text, '', { rsv: 4 })),
];

const reservedOpcodes = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15].flatMap(code => {
  const group = code < 8 ? `4.1.${code - 2}` : `4.2.${code - 10}`;
  return [
    everyWay(group, `opcode ${code}`, frame(code)),
    everyWay(`${group}p`, `opcode ${code} with payload`, frame(code, hello)),
  ];
});

runCases('3 reserved bits', reservedBits.flat());
runCases('4 reserved opcodes', reservedOpcodes.flat());
