/** The command that tells about the server as a whole. */

import { maxForAddress } from '../core/admission.ts';
import { usedMemory } from '../core/memory.ts';
import { moduleStates } from '../handlers/modules/calls.ts';
import { controlPlace, logPlace, pidPlace } from '../options/places.ts';
import type { Command } from './command.ts';
import { showSize, showTime } from './show.ts';

export const info: Command = {
  name: 'info',
  parameters: {},
  help: 'version, uptime, counters, memory, limits',
  run({ server, version, startedAt, places }, _, answer) {
    const { counters, configuration, table } = server;
    const { rss, heapUsed } = process.memoryUsage();
    const uptime = (Date.now() - startedAt) / 1000;
    const listeners = table.entries.flatMap(entry => (entry?.kind === 'listener' ? [entry.url] : []));
    const limit = (value: number) => (value === 0 || value === Number.POSITIVE_INFINITY ? null : value);
    const size = (bytes: number | null) => (answer.isJson || bytes === null ? bytes : showSize(bytes));
    return {
      version,
      pid: process.pid,
      node: process.version,
      uptime: answer.isJson ? uptime : showTime(uptime * 1000),
      listeners,
      draining: server.isDraining,
      connections: server.connections,
      counters: { ...counters },
      memory: { rss: size(rss), heap: size(heapUsed), used: size(usedMemory(server)) },
      places: {
        control: controlPlace(configuration, places) ?? null,
        configuration: configuration.configFile ?? null,
        log: logPlace(configuration, places),
        pidFile: pidPlace(configuration, places) ?? null,
        data: configuration.data || null,
        spool: configuration.spool || null,
      },
      modules: moduleStates(server),
      limits: {
        connections: limit(configuration.maxConnections),
        perAddress: limit(maxForAddress(server)),
        openFiles: limit(server.descriptors.limit),
        message: size(limit(configuration.maxMessage)),
        memory: size(limit(configuration.maxMemory)),
        buffered: size(limit(configuration.maxBuffered)),
        header: size(limit(configuration.maxHeader)),
      },
    };
  },
};
