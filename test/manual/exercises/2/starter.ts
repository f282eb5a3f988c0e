/**
 * Exercise 2: one write a turn.
 *
 * `turn` is one turn of a small server. It answers each line with the line in capital letters. A line that begins with `!` goes to
 * all clients, its sender among them, without the `!` and as it is. Every line that is sent ends in `\n`.
 *
 * It works, but calls `write`, the system call, for each line. Change it so that a turn writes to each client at most once, with
 * all lines in the order in which they would have been written, and does not write to a client that gets nothing.
 */

export interface Client {
  readonly id: number;
  /** Text to be written at the end of the turn. */
  queue: string;
}

/** What `poll` found: a client, and the lines that it has sent. */
export interface Ready {
  readonly client: Client;
  readonly lines: readonly string[];
}

export function newClient(id: number): Client {
  return { id, queue: '' };
}

/**
 * @param ready the clients that have sent something, in order
 * @param clients all clients
 * @param write writes to the client's socket
 */
export function turn(
  ready: readonly Ready[],
  clients: readonly Client[],
  write: (client: Client, text: string) => void,
): void {
  for (const { client, lines } of ready) {
    for (const line of lines) {
      if (line.startsWith('!')) {
        for (const each of clients) write(each, `${line.slice(1)}\n`);
      } else {
        write(client, `${line.toUpperCase()}\n`);
      }
    }
  }
}
