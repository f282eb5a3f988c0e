/** Web Locks (W3C) in one process, as far as the client library uses them. */

interface Entry {
  readonly name: string;
  readonly mode: LockMode;
  run(): void;
}

export function newFakeLocks(): Pick<LockManager, 'request' | 'query'> {
  const held = new Set<Entry>();
  let pending: Entry[] = [];

  const grant = (): void => {
    for (const entry of pending) {
      const others = [...held].filter(({ name }) => name === entry.name);
      if (others.some(({ mode }) => mode === 'exclusive' || entry.mode === 'exclusive')) continue;
      pending = pending.filter(one => one !== entry);
      held.add(entry);
      entry.run();
    }
  };

  const request = (name: string, ...rest: unknown[]): Promise<unknown> => {
    const callback = rest.pop() as () => unknown;
    const { mode = 'exclusive', signal } = (rest[0] ?? {}) as LockOptions;
    return new Promise((resolve, reject) => {
      const entry: Entry = {
        name,
        mode,
        async run() {
          try {
            resolve(await callback());
          } finally {
            held.delete(entry);
            grant();
          }
        },
      };
      signal?.addEventListener('abort', () => {
        if (!pending.includes(entry)) return;
        pending = pending.filter(one => one !== entry);
        reject(signal.reason);
      });
      pending.push(entry);
      queueMicrotask(grant);
    });
  };

  return {
    request: request as LockManager['request'],
    async query() {
      return { held: [...held].map(({ name, mode }) => ({ name, mode })), pending: [] };
    },
  };
}
