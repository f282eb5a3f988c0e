/** Creates a server's record, without connections and handlers. */

import { newClosedConnections } from '../diagnostics/closedConnections.ts';
import { newMetrics } from '../diagnostics/metrics.ts';
import { newRecorder } from '../diagnostics/recorder.ts';
import { newTaps } from '../diagnostics/tap.ts';
import { newTrace } from '../diagnostics/trace.ts';
import type { Configuration } from '../options/configuration.ts';
import { clock } from '../process/clock.ts';
import { newArenaUse } from '../records/arena.ts';
import type { Server } from '../records/records.ts';
import { newTable } from '../records/table.ts';

/** @param maxDescriptors how many files the process may have open */
export function newServer(configuration: Configuration, maxDescriptors = Number.POSITIVE_INFINITY): Server {
  const taps = newTaps();
  return {
    configuration,
    reloadables: [],
    handlers: new Map(),
    table: newTable(),
    counters: {
      turns: 0,
      accepted: 0,
      refused: 0,
      messagesIn: 0,
      fellBehind: 0,
      evicted: 0,
      appRequests: 0,
      appFailures: 0,
      appCacheHits: 0,
    },
    metrics: newMetrics(),
    accessLog: undefined,
    now: clock(),
    isDraining: false,
    drainDeadline: 0,
    lastSerial: 0,
    lastWarnedAt: new Map(),
    recorder: newRecorder(configuration.recorder === 'on'),
    taps,
    trace: newTrace(taps),
    recordings: undefined,
    closedConnections: newClosedConnections(),

    ready: {
      readable: [],
      ended: [],
      bulk: [],
      accepted: [],
      isArenaUsed: false,
      isArenaFull: false,
      spilled: 0,
      earlyTurns: 0,
      isSerial: false,
      hasRead: false,
    },
    schedule: { begin: undefined, isScheduled: false, isWanted: false },
    hasCommands: false,
    accepting: { inPoll: 0, hasRoom: true, wasBusy: false, polls: 0, since: 0 },
    classes: { cheap: [], pieces: [], opening: [], costly: [], throttled: [], later: [] },
    inflations: { waiting: [], progressedIn: 0 },
    pendingFanout: undefined,
    slowConsumers: [],
    pendingWrites: [],
    producers: { unserved: [], served: [], slices: 0 },
    pendingFrees: [],
    deadlines: { timer: undefined, isDue: false, nextId: 0, dueAt: 0, wasPostponed: false },

    connections: 0,
    polling: { clients: 0 },
    places: {
      byAddress: new Map(),
      connectRates: new Map(),
      logLines: new Map(),
      userRates: new Map(),
      clients: 0,
      idle: [],
      halfOpen: [],
      unproven: [],
      dropped: 0,
    },
    descriptors: { limit: maxDescriptors, listeners: 0, pipes: 0, files: 0, app: 0 },
    memory: { connections: 0, histories: 0, app: 0, trimHistories() {}, programs: 0, trimPrograms() {} },
    arena: newArenaUse(),
  };
}
