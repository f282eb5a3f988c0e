/**
 * Loads the histories of empty rooms from disk. A large or damaged file takes long, so it is read in steps, some in each turn.
 * Connections that want to enter in the meantime are throttled and try again every turn.
 */

import { log } from '../../log/log.ts';
import { historyCacheTime, historyReadBudget, maxNameBytes, maxPacketBlob } from '../../protocol/limits.ts';
import { workUnits } from '../../protocol/workUnits.ts';
import { diskErrorReason } from '../../storage/disk.ts';
import type { StoredMessage } from '../../storage/message.ts';
import type { Store } from '../../storage/records.ts';
import { closeRoom, openRoom, recallRoom } from '../../storage/room.ts';
import { appendToHistory, clearHistory, historyEntries } from './history.ts';
import type { Name } from './names.ts';
import { type Chat, type HistoryLoad, newRoom, type Room, scheduleTurnEnd } from './room.ts';

/**
 * Starts or continues to load a room.
 * @returns the room when its history is loaded, a sentence if that failed, `undefined` while it is loading
 */
export function loadRoom(chat: Chat, store: Store, name: Name): Room | string | undefined {
  const load = chat.loading.get(name.key) ?? startLoad(chat, store, name);
  if (typeof load === 'string') return load;
  load.requestedAt = performance.now();
  if (load.state === 'loading') return undefined;
  chat.loading.delete(name.key);
  return load.state === 'done' ? load.room : load.failure;
}

/** A room with its file open and no history, or the one that is loading. @returns a sentence if the file cannot be opened */
export function openRoomFile(chat: Chat, store: Store, name: Name): Room | string {
  const load = chat.loading.get(name.key);
  if (load !== undefined && load.state !== 'failed') return load.room;
  const room = newRoom(chat, name);
  try {
    room.file = openRoom(store, name.key);
  } catch (error) {
    return logLoadFailure(room, error);
  }
  return room;
}

function startLoad(chat: Chat, store: Store, name: Name): HistoryLoad | string {
  const room = openRoomFile(chat, store, name);
  if (typeof room === 'string') return room;
  const steps = recallRoom(room.file!, room.history.bound);
  const load: HistoryLoad = { room, steps, state: 'loading', failure: '', requestedAt: 0, onSettled: [] };
  loadStep(load);
  if (load.state === 'loading') scheduleTurnEnd(chat);
  chat.loading.set(name.key, load);
  return load;
}

function loadStep(load: HistoryLoad): void {
  const { room } = load;
  try {
    const { done, value } = load.steps.next();
    if (!done) return;
    fillHistory(room, value);
    load.state = 'done';
  } catch (error) {
    load.failure = logLoadFailure(room, error);
    load.state = 'failed';
    closeRoom(room.file!);
    clearHistory(room.history);
  }
  for (const settled of load.onSettled) settled();
}

function logLoadFailure({ name }: Room, error: unknown): string {
  log('error', 'history unreadable', { room: name.text, error: (error as Error).message });
  return `the room's history cannot be read: ${diskErrorReason(error)}`;
}

/** Puts the loaded messages before those that were posted while loading. */
function fillHistory(room: Room, messages: readonly StoredMessage[]): void {
  const since = [...historyEntries(room.history)];
  clearHistory(room.history);
  for (const { time, nick, text } of messages) {
    // The file may have been edited: keep the limits that clients rely on.
    if (Buffer.byteLength(text) <= maxPacketBlob && Buffer.byteLength(nick) <= maxNameBytes)
      appendToHistory(room.history, Buffer.from(`${nick}: ${text}`), Date.parse(time) || 1);
  }
  for (const { line, time } of since) appendToHistory(room.history, line, time);
}

/** A stage at the end of the turn: some steps, one room after the other. */
export function loadHistories(chat: Chat): void {
  const { loading } = chat;
  if (loading.size === 0) return;
  const expired = performance.now() - historyCacheTime;
  for (const [key, load] of loading) {
    if (load.requestedAt < expired && (load.state !== 'loading' || load.onSettled.length === 0))
      cancelLoad(chat, key, load);
  }
  const end = workUnits.spent + historyReadBudget;
  for (const [key, load] of loading) {
    if (load.state !== 'loading') continue;
    if (workUnits.spent >= end) return scheduleTurnEnd(chat);
    loadStep(load);
    // Round robin: move the room to the end of the queue.
    loading.delete(key);
    loading.set(key, load);
  }
}

/** Cancels a load that no connection waits for. */
function cancelLoad(chat: Chat, key: string, load: HistoryLoad): void {
  chat.loading.delete(key);
  if (load.state === 'failed') return;
  load.steps.return([]);
  clearHistory(load.room.history);
  closeRoom(load.room.file!);
  for (const settled of load.onSettled) settled();
}

/** Resolves when the room's history is loaded, or its loading has failed or been cancelled. */
export function whenLoaded(chat: Chat, name: Name): Promise<void> {
  const load = chat.loading.get(name.key);
  return new Promise(resolve => {
    if (load?.state === 'loading') load.onSettled.push(resolve);
    else resolve();
  });
}
