/** A module of the user's: its versions, one after the other, and what outlives them. */
import type { Connection } from '../../core/connection.ts';
import type { Group } from '../../core/group.ts';
import type { Handler } from '../../core/handler.ts';
import type { Server } from '../../core/server.ts';
import type { Wire } from '../../core/wire.ts';
import type * as user from './interface.ts';
import type { Peer } from './peer.ts';

/** What one state of the file exports. */
export interface Version {
  /** Counted over all that were tried. */
  readonly number: number;
  /** The file that it was loaded from, without links, and the hash of its content. */
  readonly real: string;
  readonly digest: string;
  readonly loadedAt: Date;
  readonly names: readonly string[];
  readonly handler: user.Handler | undefined;
  readonly wire: user.Wire | undefined;
  /** While this one is on probation: whoever takes over again if it throws, and with what. */
  before: { readonly version: Version; readonly state: unknown } | undefined;
  /** Its `swap` made a state of its own out of the one before. */
  hasOwnState: boolean;
  /** It threw, and is out of charge. */
  isTakenBack: boolean;
}

export interface Trouble {
  readonly what: 'refused' | 'rolled back';
  readonly why: string;
  readonly at: Date;
}

/** What is awaited for a connection. */
export interface Pending {
  readonly connection: Connection;
  readonly since: number;
}

export interface Slot {
  /** The file's name without its extension: what the log calls it. */
  readonly name: string;
  /** Its path as the user wrote it, for sentences. */
  file: string;
  readonly owner: Server;
  /** The URLs of all files that versions were loaded from. */
  readonly hrefs: Set<string>;
  current: Version;
  /** Why the file's last state is not the current version. */
  trouble: Trouble | undefined;
  lastError: { readonly why: string; readonly at: Date } | undefined;
  /** What the rest of the server knows it by. */
  readonly handler: Handler;
  readonly wire: Wire;
  /** What the module sees. */
  readonly server: user.Server;
  readonly log: user.Log;
  readonly peers: Set<Peer>;
  /** Connections of its wire, which are the wire's alone. */
  readonly wired: Set<Connection>;
  readonly groups: Map<string, Group>;
  /** Those whose promise is not settled, the oldest first. */
  readonly pending: Map<Peer, Pending>;
  timer: NodeJS.Timeout | undefined;
  isTickDue: boolean;
  isTicking: boolean;
  /** Its file is gone: it has whom it has until they have been told, and nobody new. */
  isRemoved: boolean;
}

/** A sentence or so of what was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

export function noteError(slot: Slot, error: unknown): void {
  slot.lastError = { why: reasonOf(error).slice(0, longestReason), at: new Date() };
}

const longestReason = 500;
