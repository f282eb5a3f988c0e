/** A log against a model of it: random appends, failures, rotations, restarts, kills, crashes, purges and damage. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { realDisk } from '../../../src/storage/disk.ts';
import type { LogForget, LogMessage } from '../../../src/storage/log/records.ts';
import { captureLog, diskWith, scratchDirectory, systemError } from '../scratch.ts';
import { forget, openScratchLog, type ScratchLog, said } from './scratchLog.ts';

const channels = ['a', 'b/ü', 'c "quoted"'];

type Step =
  | {
      readonly kind: 'append';
      readonly channels: readonly number[];
      readonly text: string;
      readonly fails: boolean;
    }
  | { readonly kind: 'forget'; readonly channel: number; readonly isPurged: boolean }
  | {
      readonly kind: 'restart';
      readonly isKilled: boolean;
      readonly hasCrashed: boolean;
      readonly torn: number;
    }
  | { readonly kind: 'damage'; readonly at: number; readonly bytes: string };

const channelIndex = fc.nat({ max: channels.length - 1 });

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      channels: fc.array(channelIndex, { minLength: 1, maxLength: 4 }),
      text: fc.string({ unit: 'grapheme', maxLength: 30 }),
      fails: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('forget' as const),
      channel: channelIndex,
      isPurged: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('restart' as const),
      isKilled: fc.boolean(),
      hasCrashed: fc.boolean(),
      torn: fc.nat({ max: 30 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('damage' as const),
      at: fc.nat({ max: 9999 }),
      bytes: fc.constantFrom('\n', '\0', '"', 'x', '5', '{', '\n{}\n', 'x\n'.repeat(5)),
    }),
  },
);

/** What the log should have. */
interface Model {
  readonly stored: (LogMessage | LogForget)[];
  epoch: string;
  /** The highest number that was ever acknowledged. */
  acknowledged: number;
  /** Some lines were damaged. */
  isDamaged: boolean;
  /** A digit of a number may be wrong, which nothing can notice in the only line of a segment. */
  isMisnumbered: boolean;
  /** Messages whose line has the number of another message now. Failed appends leave gaps, so no reader can notice it. */
  readonly renumbered: Set<number>;
}

/** @param at the index of a byte @returns the number of the message, if the byte is a digit of it */
function numberAt(text: string, at: number): number | undefined {
  const start = text.lastIndexOf('\n', at - 1) + 1;
  const [head = '', digits = ''] = /^\{"id":"\w+-(\d+)"/.exec(text.slice(start)) ?? [];
  const end = start + head.length - 1;
  return at >= end - digits.length && at < end ? Number(digits) : undefined;
}

const isForget = (record: LogMessage | LogForget): record is LogForget => 'isForget' in record;

/** The messages that no later forget covers. */
function kept({ stored }: Model): LogMessage[] {
  const forgotten = (one: LogMessage) =>
    stored.some(later => isForget(later) && later.channel === one.channel && later.seq > one.seq);
  return stored.filter((one): one is LogMessage => !isForget(one) && !forgotten(one));
}

function check(model: Model, log: ScratchLog): void {
  if (log.log.epoch !== model.epoch) {
    // The file was not recognised, and kept under another name. A cursor of the old epoch gets a gap, and numbers begin again.
    model.epoch = log.log.epoch;
    model.acknowledged = 0;
    model.stored.length = 0;
  }
  const all = new Map(kept(model).map(one => [one.seq, one]));
  const read = log.records.filter((one): one is LogMessage => !isForget(one));
  const forgets = log.records.filter(isForget);
  for (const [index, { seq, channel, data }] of read.entries()) {
    assert.ok(index === 0 || seq > read[index - 1]!.seq, 'numbers ascend');
    // Damage may change a text, or the number of a forget; without it, everything is as appended.
    if (model.isDamaged) continue;
    assert.equal(all.get(seq)?.channel, channel);
    assert.deepEqual(all.get(seq)?.data, data);
  }
  if (!model.isDamaged) assert.equal(read.length, all.size);
  if (!model.isMisnumbered) assert.ok(log.lastSeq >= model.acknowledged, 'numbers go back');
  const found = new Set(read.map(({ seq }) => seq));
  for (const { seq, channel } of all.values()) {
    const isKnownMissing =
      seq <= log.unreadSeq ||
      model.renumbered.has(seq) ||
      forgets.some(one => one.channel === channel && one.seq >= seq) ||
      found.has(seq);
    assert.ok(isKnownMissing, `message ${seq} is missing, and the log does not say so`);
  }
}

test('whatever happens, every acknowledged message is read again, or the log says that it may be missing', async t => {
  captureLog(t);
  const run = async (steps: readonly Step[]) => {
    let room = Number.POSITIVE_INFINITY;
    const disk = diskWith({
      write(descriptor, bytes) {
        if (room <= 0) throw systemError('ENOSPC');
        return realDisk.write(descriptor, bytes.subarray(0, room));
      },
    });
    let boot = 1;
    const directory = scratchDirectory();
    const open = (context: TestContext) =>
      openScratchLog(context, { directory, rotateAt: 600, disk, boot: `boot${boot}` });
    let log = open(t);
    const { epoch } = log.log;
    const model: Model = {
      epoch,
      stored: [],
      acknowledged: 0,
      isDamaged: false,
      isMisnumbered: false,
      renumbered: new Set(),
    };
    let next = log.lastSeq + 1;
    for (const one of steps) {
      if (one.kind === 'append') {
        const records = one.channels.map((channel, index) =>
          said(next + index, one.text, { channel: channels[channel]! }),
        );
        next += records.length;
        room = one.fails ? one.text.length : Number.POSITIVE_INFINITY;
        try {
          log.log.append(records);
          model.stored.push(...records);
          model.acknowledged = next - 1;
        } catch (error) {
          assert.ok(one.fails, String(error));
        }
        room = Number.POSITIVE_INFINITY;
      } else if (one.kind === 'forget') {
        const record = forget(next++, channels[one.channel]!);
        log.log.append([record]);
        model.stored.push(record);
        model.acknowledged = record.seq;
        if (one.isPurged) await log.log.purge(record.channel, record.seq);
      } else if (one.kind === 'damage') {
        const path = join(directory, 'messages.jsonl');
        const bytes = readFileSync(path);
        const number = numberAt(bytes.toString('latin1'), one.at % bytes.length);
        if (number !== undefined && one.bytes === '5') model.renumbered.add(number);
        bytes.write(one.bytes, one.at % bytes.length);
        writeFileSync(path, bytes);
        model.isDamaged = true;
        if (one.bytes === '5') model.isMisnumbered = true;
      } else {
        if (one.hasCrashed) boot++;
        if (!one.isKilled) log.log.close();
        else if (one.torn > 0) {
          // The beginning of a line that was not acknowledged.
          const line = `{"id":"${log.log.epoch}-${next}","time":"2030-01-02T03:`.slice(0, one.torn);
          writeFileSync(join(directory, 'messages.jsonl'), line, { flag: 'a' });
        }
        log = open(t);
        assert.ok(log.log.epoch === epoch || model.isDamaged, 'another epoch');
        check(model, log);
        next = Math.max(next, log.lastSeq + 1);
      }
    }
    log.log.close();
    boot++;
    log = open(t);
    check(model, log);
    log.log.close();
  };
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), run), { numRuns: 200 });
});
