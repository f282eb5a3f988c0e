/** Group 10: a long message in many fragments. */
import { Buffer } from 'node:buffer';
import { answered, type ConformanceCase, echoOfText, inGroup } from '../case.ts';

export const autoFragments: readonly ConformanceCase[] = inGroup('Fragmentation', 'fragments', [
  {
    name: 'many',
    number: '10.1.1',
    description: 'Sends a text of 65536 bytes in fragments of 1300 bytes.',
    expectation: 'The peer echoes the text.',
    plan() {
      const payload = Buffer.alloc(65_536, '*');
      const step = { do: 'message', isText: true, payload, fragment: 1300 } as const;
      return answered([step], [echoOfText(payload)], { after: 10_000, end: 'fail' });
    },
  },
]);
