import type { TestContext } from 'node:test';

/**
 * Skips a test that needs something that only Linux has, and says so in the report.
 * @param what such as `/proc`
 * @returns whether the test is skipped: on any other system
 */
export function skipUnlessLinux(test: TestContext, what: string): boolean {
  if (process.platform === 'linux') return false;
  test.skip(`only Linux has ${what}`);
  return true;
}
