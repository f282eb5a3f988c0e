/** The frames of the inspector's workbench, as `explain` reads them. */
import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { explain } from '../../../src/explain/explain.ts';
import type { FrameExplanation } from '../../../src/explain/records.ts';
import {
  closePayload,
  type Draft,
  type Example,
  fieldsOf,
  frameOf,
  hexOf,
  invalidExamples,
  type LengthForm,
  parseHex,
  validExamples,
} from '../../../src/web/inspector/compose.ts';

const plainText: Draft = {
  ...{ isFinal: true, rsv: [false, false, false], opcode: 1, isMasked: true, key: '37fa213d' },
  ...{ form: undefined, length: undefined, payload: new TextEncoder().encode('Hello') },
};

function draftOf({ name: _, text = '', hex, code, ...rest }: Example): Draft {
  const bytes = hex === undefined ? new TextEncoder().encode(text) : parseHex(hex)!;
  return { ...plainText, ...rest, payload: code === undefined ? bytes : closePayload(code, text) };
}

const bytesOf = (example: Example) => Buffer.from(frameOf(fieldsOf(draftOf(example))), 'hex');

function explained(...examples: Example[]): FrameExplanation[] {
  const bytes = Buffer.concat(examples.map(bytesOf));
  return explain([{ sender: 'client', bytes }], { isCompressed: true }) as FrameExplanation[];
}

describe('a frame built by hand', () => {
  test('is the masked "Hello" of RFC 6455 §5.7 with that key and payload', () => {
    assert.equal(frameOf(fieldsOf(plainText)), '818537fa213d7f9f4d5158');
    assert.equal(frameOf(fieldsOf({ ...plainText, isMasked: false })), '810548656c6c6f');
  });

  test('uses the fewest bits for its length unless another form is chosen', () => {
    const header = (length: number, form?: LengthForm) => {
      const draft = { ...plainText, isMasked: false, form, payload: new Uint8Array(length) };
      return frameOf(fieldsOf(draft)).slice(2, -2 * length || undefined);
    };
    assert.equal(header(125), '7d');
    assert.equal(header(126), '7e007e');
    assert.equal(header(65_536), '7f0000000000010000');
    assert.equal(header(5, 16), '7e0005');
    assert.equal(header(5, 64), '7f0000000000000005');
    assert.equal(header(300, 7), '7e012c');
  });

  test('states a wrong length if one is given', () => {
    const lying = frameOf(fieldsOf({ ...plainText, isMasked: false, length: 9n }));
    assert.equal(lying, '810948656c6c6f');
    assert.match(frameOf(fieldsOf({ ...plainText, length: (1n << 64n) - 1n })), /^81ffffffffffffffffff/);
  });

  test('is the frame that explain reads, for all bits, lengths and payloads', () => {
    const drafts = fc.record({
      isFinal: fc.boolean(),
      rsv: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()),
      opcode: fc.nat(15),
      isMasked: fc.boolean(),
      key: fc.uint8Array({ minLength: 4, maxLength: 4 }).map(hexOf),
      form: fc.constantFrom(undefined, 7 as const, 16 as const, 64 as const),
      length: fc.constant(undefined),
      payload: fc.uint8Array({ maxLength: 200 }),
    });
    fc.assert(
      fc.property(drafts, draft => {
        const fields = fieldsOf(draft);
        const bytes = Buffer.from(frameOf(fields), 'hex');
        const [frame] = explain([{ sender: 'client', bytes }], { isCompressed: false }) as FrameExplanation[];
        // A refused header has no further fields.
        const values = (all: readonly { name: string; value: string; hex?: string | undefined }[]) =>
          all.map(({ name, value, hex }) => `${name} ${hex?.slice(0, 32) ?? value.split(' ', 1)[0]}`);
        const read = values(frame!.fields.filter(({ name }) => !/unmasked|^Close|^Reason/.test(name)));
        const built = values(fields).map(field =>
          field.replace(/^opcode (\d+)/, (_, code) => `opcode 0x${Number(code).toString(16)}`),
        );
        assert.deepEqual(read, built.slice(0, read.length));
      }),
    );
  });
});

describe('the examples of the workbench', () => {
  test('each valid one breaks no rule', () => {
    const frames = explained(...validExamples.filter(({ name }) => name !== 'Close'));
    assert.equal(frames.length, validExamples.length - 1);
    for (const frame of frames)
      assert.deepEqual([frame.breach, frame.missing], [undefined, 0], frame.summary);
    const [close] = explained(validExamples.find(({ name }) => name === 'Close')!);
    assert.equal(close!.breach, undefined);
  });

  test('each invalid one breaks a rule, or is incomplete', () => {
    for (const example of invalidExamples) {
      const [frame] = explained(example);
      const isRefused = frame!.breach !== undefined;
      assert.ok(isRefused || (example.length !== undefined && frame!.missing > 0), example.name);
    }
  });
});

test('parseHex reads pairs of digits with spaces, colons and 0x, and nothing else', () => {
  assert.deepEqual(parseHex('81 85'), Uint8Array.of(0x81, 0x85));
  assert.deepEqual(parseHex('0x81:FF,00'), Uint8Array.of(0x81, 0xff, 0));
  assert.deepEqual(parseHex(''), new Uint8Array());
  assert.equal(parseHex('8'), undefined);
  assert.equal(parseHex('zz'), undefined);
});
