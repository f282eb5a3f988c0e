/** An exercise of the course: the file that a learner edits, and the checks that it must pass. */
import type { ServerProcess } from '../../support/serverProcess.ts';

export interface Exercise {
  /** The name of the learner's file, which is in `exercises/N/`. */
  readonly file: string;
  /** The file of the server that it replaces, such as `src/protocol/websocket/frame.ts`. */
  readonly replaces?: string;
  /** Where the learner begins: the name of a file in this exercise's folder, or changes to the file that it replaces. */
  readonly starter: string | readonly Change[];
  /** One solution, in the same form. */
  readonly solution: string | readonly Change[];
  readonly checks: readonly Check[];
}

/** Replaces a text that occurs exactly once. */
export interface Change {
  readonly find: string;
  readonly replace: string;
}

export interface Check {
  /** A sentence that is true when the exercise is done, such as `a frame of 1,025 bytes is refused`. */
  readonly claim: string;
  /** @throws Error whose message tells the learner what happened, what should happen, and where to look */
  run(work: Work): void | Promise<void>;
}

/** The learner's file, compiled. */
export interface Work {
  /** The folder with the compiled file, which has the ending `.mjs`. */
  readonly folder: string;
  /** The exports of the learner's file. */
  load(): Promise<Readonly<Record<string, unknown>>>;
  /**
   * A server on a free port of 127.0.0.1, in which the learner's file replaces that of the server. All checks share the one with
   * these options, as long as it runs; it is killed after the last check.
   */
  startServer(...options: string[]): Promise<ServerProcess>;
}
