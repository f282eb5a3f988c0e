/** Every rule of RFC 6455 and RFC 7692 has code and a test, or a reason; the manual lists all rules; a sample is proven. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { manualPage, root } from '../support/documents.ts';
import { type Attempt, attemptsAt, brokenSource, parseBreaks } from './breakage.ts';
import { faultsOf, readLedger } from './check.ts';
import { type NamedTest, type Place, placesIn, testsIn } from './markers.ts';
import { claimsOf, manualPageOf, pagePath, tableOf, tablePath } from './page.ts';
import { allAttempts, proveAll } from './proof.ts';
import { allStatements, parseStatements } from './statements.ts';

const limit = { timeout: 120_000 };

describe('the ledger', () => {
  const { claims, faults } = readLedger();

  test('has markers or a reason for every rule, and a rule for every marker', () => {
    assert.deepEqual(faults, []);
  });

  test('lists all 181 sentences of RFC 6455 with MUST, SHOULD or MAY, and further rules of both RFCs', () => {
    const ids = allStatements().map(({ id }) => id);
    assert.equal(ids.filter(id => /^[\d.]+-\d+$/.test(id)).length, 181);
    assert.ok(ids.includes('5.2-a') && ids.includes('7.4.1-i') && ids.includes('7692-7.2.2-1'));
  });

  test('matches the page of the manual, and the table for the inspector', () => {
    assert.equal(manualPage('rfc6455'), manualPageOf(claims), `${pagePath} is out of date; run make ledger`);
    const table = readFileSync(new URL(tablePath, root), 'utf8');
    assert.equal(table, tableOf(claims), `${tablePath} is out of date; run make ledger`);
  });
});

describe('make ledger', () => {
  const text = `== 5.1 Overview

5.1-1 MUST client
A client masks.
exception: not in a test.

5.1-2 MAY proxy
A proxy may.
not applicable: there is none.
`;
  const statements = parseStatements(text, 'RFC 6455');
  const place = (id: string): Place => ({ ids: [id], file: 'src/a.ts', line: 0, name: 'mask' });
  const named = (id: string): NamedTest => ({ ids: [id], file: 'test/a.test.ts', name: 'it masks' });

  test('accepts rules with code and a test, and rules with a reason', () => {
    assert.deepEqual(faultsOf(statements, [place('5.1-1')], [named('5.1-1')]), []);
    assert.deepEqual(
      statements.map(({ id, section, party, text, notApplicable, exception }) => [
        id,
        section,
        party,
        text,
        notApplicable,
        exception,
      ]),
      [
        ['5.1-1', 'RFC 6455 §5.1', 'client', 'A client masks.', undefined, 'not in a test.'],
        ['5.1-2', 'RFC 6455 §5.1', 'proxy', 'A proxy may.', 'there is none.', undefined],
      ],
    );
    const page = manualPageOf(claimsOf(statements, [place('5.1-1')], [named('5.1-1')]));
    assert.match(page, /A client masks\. Exception: not in a test\. Code: `mask` in /);
    assert.match(page, /A proxy may\. Not applicable: there is none\.$/m);
  });

  test('names a rule without code or without a test, an unknown marker, and a rule with a reason and code', () => {
    const both = [place('5.1-1'), place('5.1-2')];
    for (const [places, tests, fault] of [
      [[], [], /^5\.1-1 has no marker: /],
      [[place('5.1-1')], [], /^5\.1-1 has no test: /],
      [both, [named('5.1-1')], /^5\.1-2 is "not applicable", but src\/a\.ts has its marker; /],
      [
        [place('5.1-1')],
        [named('5.1-1'), named('5.1-9')],
        /^test\/a\.test\.ts has the marker \[5\.1-9\], but/,
      ],
    ] as const) {
      const [first = '', ...others] = faultsOf(statements, places, tests);
      assert.match(first, fault);
      assert.deepEqual(others, []);
    }
    assert.match(faultsOf([...statements, statements[1]!], [place('5.1-1')], [named('5.1-1')])[0]!, /twice/);
  });

  test('refuses a malformed rule', () => {
    assert.throws(
      () => parseStatements('5.1-1 MUST nobody\nA rule.', 'RFC 6455'),
      /"5\.1-1 MUST nobody" is not a rule/,
    );
    assert.throws(() => parseStatements('5.1-1 MUST both', 'RFC 6455'), /5\.1-1 has no sentence/);
  });

  test('finds the markers in comments and in the names of tests, and the function around a marker', () => {
    const source = `/** The codes. RFC 6455 §7.4 [7.4-1]. */
export const codes = [1000];

function read(
  bytes: Uint8Array,
): void {
  if (bytes.length > 0) {
    // RFC 6455 §5.1 [5.1-1, 5.1-2]: masked.
    check(bytes, '[5.1-3]');
  }
}

class Peer {
  close(code: number = 1000): void {
    // RFC 6455 §7.4.1 [7.4.1-4]: no such code.
    if (code === 1006) throw new Error();
  }
}

export const wire = {
  end(connection, code) {
    drop(connection); // RFC 6455 §7.1.1 [7.1.1-3]
  },
};
`;
    assert.deepEqual(
      placesIn('src/a.ts', source).map(({ ids, line, name }) => [ids, line, name]),
      [
        [['7.4-1'], 0, 'codes'],
        [['5.1-1', '5.1-2'], 7, 'read'],
        [['7.4.1-4'], 14, 'close'],
        [['7.1.1-3'], 21, 'end'],
      ],
    );
    assert.throws(
      () => placesIn('src/a.ts', '// RFC 6455 §5.1 [5.1-1,\n// 5.1-2]'),
      /src\/a\.ts:1 has a marker that spans two lines/,
    );
    const tests = `// [5.1-3]
test('the \\'first\\' [5.1-1, 5.1-2]', () => {});
describe('a handshake', () => {
  const rows = [['no key [5.1-4]', 1]];
  for (const [name, status] of rows) {
    test(\`with \${name} is refused with \${status}\`, () => {});
  }
});
`;
    assert.deepEqual(
      testsIn('test/a.test.ts', tests).map(({ ids, name }) => [ids, name]),
      [
        [['5.1-1', '5.1-2'], "the 'first'"],
        [['5.1-4'], 'a handshake with no key is refused with …'],
      ],
    );
  });
});

describe('make ledger-proof', () => {
  const source = `function read(bytes) {
  // RFC 6455 §5.1 [5.1-1].
  if (bytes.length > max(1, ')')) fail();
  // RFC 6455 §5.1 [5.1-2].
  fail({ a: ';' });
  // RFC 6455 §5.1
  // [5.1-3].
  return a === b;
  // RFC 6455 §5.1 [5.1-4, 5.1-5].
  const size = 4;
}
`;
  const places = placesIn('src/a.ts', source);

  function broken(attempt: Attempt): string[] {
    const before = source.split('\n');
    return brokenSource(source, attempt)
      .split('\n')
      .filter((line, index) => line !== before[index])
      .map(line => line.trim());
  }

  test('makes a condition false, removes a statement, negates a returned value, or replaces text as breaks.txt says', () => {
    const breaks = parseBreaks('# comment\n\n5.1-4 src/a.ts\n- = 4\n+ = 5\n');
    const attempts = attemptsAt(places, breaks);
    assert.deepEqual(
      attempts.map(attempt => [attempt.ids, broken(attempt)]),
      [
        [['5.1-1'], ['if (false) fail();']],
        [['5.1-2'], [';']],
        [['5.1-3'], ['return !(a === b);']],
        [['5.1-4', '5.1-5'], ['const size = 5;']],
      ],
    );
  });

  test('reports the faults of breaks.txt', () => {
    assert.throws(() => attemptsAt(places, parseBreaks('5.1-9 src/a.ts\n- a\n+ b')), /no marker \[5\.1-9\]/);
    const [first] = attemptsAt(places, parseBreaks('5.1-1 src/a.ts\n- missing\n+ b'));
    assert.throws(() => brokenSource(source, first!), /has no "missing" after the marker/);
    const last = attemptsAt(places, []).at(-1)!;
    assert.throws(() => brokenSource(source, last), /not a statement that can be removed; add an entry/);
    assert.throws(() => parseBreaks('5.1-1 src/a.ts\nnothing'), /breaks\.txt: write a rule and a file/);
  });

  test('proves a sample of the rules, and notices a change that breaks nothing', limit, async () => {
    const { claims } = readLedger();
    const isQuick = ({ ids }: Attempt) =>
      claims
        .filter(({ statement }) => ids.includes(statement.id))
        .every(({ tests }) => tests.every(({ file }) => file.startsWith('test/protocol/')));
    const quick = allAttempts(claims).filter(isQuick);
    assert.ok(quick.length > 50);
    const sample = quick.filter((_, index) => index % Math.floor(quick.length / 4) === 0);
    const harmless = { ...sample[0]!, change: { id: '', file: '', from: ' ', to: '  ' } };
    const faults: (string | undefined)[] = [];
    const notProven: string[] = [];
    await proveAll(claims, [...sample, harmless], ({ id, attempt, fault }) => {
      if (attempt === harmless) faults.push(fault);
      else if (fault !== undefined) notProven.push(`${id}: ${fault}`);
    });
    assert.deepEqual(notProven, []);
    assert.deepEqual(new Set(faults), new Set(['its tests pass although the check is broken']));
  });
});
