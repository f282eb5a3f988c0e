/** Compares the statements, the markers and the page. */
import { collectMarkers, type NamedTest, type Place } from './markers.ts';
import { type Claim, claimsOf } from './page.ts';
import { allStatements, type Statement } from './statements.ts';

/** @returns a sentence for each fault */
export function faultsOf(
  statements: readonly Statement[],
  places: readonly Place[],
  tests: readonly NamedTest[],
): string[] {
  const known = new Map(statements.map(statement => [statement.id, statement]));
  const ids = statements.map(({ id }) => id);
  const twice = ids.filter((id, index) => ids.indexOf(id) < index);
  const unknown = [...places, ...tests].flatMap(({ file, ids }) =>
    ids
      .filter(id => !known.has(id))
      .map(id => `${file} has the marker [${id}], but there is no such rule; correct the marker`),
  );
  return [
    ...twice.map(id => `${id} is listed twice; remove one`),
    ...unknown,
    ...claimsOf(statements, places, tests).flatMap(claimFaults),
  ];
}

function claimFaults({ statement: { id, notApplicable }, places, tests }: Claim): string[] {
  const [place] = places;
  const [test] = tests;
  if (notApplicable !== undefined) {
    const found = place ?? test;
    return found === undefined
      ? []
      : [`${id} is "not applicable", but ${found.file} has its marker; remove one of them`];
  }
  if (place === undefined)
    return [
      `${id} has no marker: add [${id}] beside the code that enforces it, or "not applicable: REASON" below the rule`,
    ];
  return test === undefined
    ? [`${id} has no test: add [${id}] to the name of the test that fails without ${place.name}`]
    : [];
}

/** Reads the tree. @returns the claims of all rules, and the faults */
export function readLedger(): { claims: Claim[]; faults: string[] } {
  const statements = allStatements();
  const { places, tests } = collectMarkers();
  return { claims: claimsOf(statements, places, tests), faults: faultsOf(statements, places, tests) };
}
