/** The command that tells about the server as a whole. */
import type { Command } from './command.ts';
import { showSize, showTime } from './show.ts';

export const info: Command = {
  name: 'info',
  parameters: {},
  help: 'version, uptime, counters, memory, limits',
  run({ server, version, startedAt }, _, answer) {
    const { counters, configuration, table } = server;
    const { rss, heapUsed } = process.memoryUsage();
    const uptime = (Date.now() - startedAt) / 1000;
    const listeners = table.entries.flatMap(entry => (entry?.kind === 'listener' ? [entry.url] : []));
    const limit = (value: number) => (value === 0 || value === Number.POSITIVE_INFINITY ? null : value);
    const size = (bytes: number) => (answer.isJson ? bytes : showSize(bytes));
    return {
      version,
      pid: process.pid,
      node: process.version,
      uptime: answer.isJson ? uptime : showTime(uptime * 1000),
      listeners,
      draining: server.isDraining,
      connections: server.connections,
      counters: { ...counters },
      memory: { rss: size(rss), heap: size(heapUsed) },
      limits: {
        connections: limit(configuration.maxConnections),
        message: limit(configuration.maxMessage),
        buffered: limit(configuration.maxBuffered),
        header: limit(configuration.maxHeader),
      },
    };
  },
};
