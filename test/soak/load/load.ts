/** What a load is: one kind of traffic, made by a process of its own or by one that makes several kinds. */
import { setTimeout as wait } from 'node:timers/promises';

export interface Target {
  readonly port: number;
  /** The handlers that the server loads. */
  readonly modules: string;
  readonly spool: string;
  /** The folder of the log. */
  readonly data: string;
  /** Clients of each load in hoards.ts. */
  readonly hoarders?: number;
}

export interface Counts {
  /** The load's work: messages echoed, bombs sent, sessions opened. */
  done: number;
  /** Connections and requests that the server did not admit. */
  refused: number;
  /** Connections that the server closed. */
  closed: number;
}

export interface Load {
  readonly name: string;
  /** What `done` counts. */
  readonly unit: string;
  /** Whether the clients behave well and hold little, so that the server has no reason to close one. */
  readonly isHarmless?: true;
  run(target: Target, counts: Counts): Promise<unknown>;
}

/**
 * Runs `clients` clients, each of which makes one attempt after another for the life of the process. They start at
 * different times within the first second.
 * @param pause milliseconds between two attempts
 */
export function repeat(
  clients: number,
  pause: number,
  attempt: (index: number, round: number) => Promise<void>,
): Promise<unknown> {
  const run = async (index: number) => {
    await wait((index * 1000) / clients);
    for (let round = 0; ; round++) {
      await attempt(index, round);
      await wait(pause);
    }
  };
  return Promise.all(Array.from({ length: clients }, (_, index) => run(index)));
}
