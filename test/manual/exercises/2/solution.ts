/** A solution of exercise 2: a queue for each client, and a flush at the end of the turn. */

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
  // The clients with something in their queues, so that the flush need not look at all others.
  const pending: Client[] = [];
  const send = (client: Client, text: string) => {
    if (client.queue === '') pending.push(client);
    client.queue += text;
  };
  for (const { client, lines } of ready) {
    for (const line of lines) {
      if (line.startsWith('!')) {
        for (const each of clients) send(each, `${line.slice(1)}\n`);
      } else {
        send(client, `${line.toUpperCase()}\n`);
      }
    }
  }
  for (const client of pending) {
    write(client, client.queue);
    client.queue = '';
  }
}
