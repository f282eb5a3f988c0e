/** The options for channels: what they keep, and which of them are rooms. */
import { maxHistoryBytes } from '../protocol/limits.ts';
import type { OptionTable } from './option.ts';
import { choice, count, directory, duration, historyBound, roomPattern, size } from './values.ts';

export const channelOptions = {
  rooms: {
    kind: roomPattern,
    repeatable: true,
    default: ['*'],
    group: 'Channels',
    help: 'channels that are chat rooms; none: no chat',
  },
  nick: {
    kind: choice(['any', 'user'], 'WORD'),
    default: 'any',
    group: 'Channels',
    help: "nicks: any, or user for the user's name",
  },
  data: {
    kind: directory('memory'),
    default: '',
    needsRestart: true,
    group: 'Channels',
    help: 'store messages in this folder',
  },
  fsync: {
    kind: choice(['always', 'everysec', 'no'], 'WORD'),
    default: 'everysec',
    needsRestart: true,
    needs: 'data',
    group: 'Channels',
    help: 'flush to disk: always, everysec or no',
  },
  history: {
    kind: historyBound,
    default: { messages: 100, bytes: maxHistoryBytes },
    group: 'Channels',
    help: 'messages (bytes) kept per channel; 0: none',
  },
  historyAge: {
    kind: duration,
    default: 0,
    group: 'Channels',
    help: 'keep messages for this long; 0: no limit',
  },
  historyMemory: {
    kind: size,
    default: 64 * 1024 * 1024,
    group: 'Channels',
    help: 'memory for the messages of all channels',
  },
  historyRotate: {
    kind: size,
    default: 16 * 1024 * 1024,
    needsRestart: true,
    needs: 'data',
    group: 'Channels',
    help: 'start a new file of messages at this size',
  },
  historyKeep: {
    kind: count,
    default: 4,
    needsRestart: true,
    needs: 'data',
    group: 'Channels',
    help: 'number of full files to keep',
  },
  presenceGrace: {
    kind: duration,
    default: 5000,
    group: 'Channels',
    help: 'a user back within this time never left',
  },
} as const satisfies OptionTable;
