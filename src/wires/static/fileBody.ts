/** Sends a file or parts of it: short content at once, long content in slices, as the socket takes them. */

import { closeSync, readSync } from 'node:fs';
import { dropConnection } from '../../core/close.ts';
import { mayOpenFile } from '../../core/descriptors.ts';
import { queueRange, scheduleFlush, sendBytes } from '../../core/send.ts';
import { noteEnding } from '../../diagnostics/closeReason.ts';
import { ProtocolError } from '../../protocol/codes.ts';
import type { PartRange } from '../../protocol/http/ranges.ts';
import { outputSlice } from '../../protocol/limits.ts';
import { reserve } from '../../records/arena.ts';
import type { Connection, Producer, Server } from '../../records/records.ts';
import { endResponse } from '../route.ts';

/** Some bytes, then a range of the file. */
export interface Part {
  readonly prefix: Buffer;
  readonly range: PartRange;
}

/** The content of an answer: its parts, then the suffix. */
export interface FileContent {
  readonly parts: readonly Part[];
  readonly suffix: Buffer;
}

export function contentLength({ parts, suffix }: FileContent): number {
  return parts.reduce(
    (sum, { prefix, range }) => sum + prefix.length + range.end - range.start,
    suffix.length,
  );
}

/** Bytes of memory of a `FileBody`, and of each part. */
const fileBodyMemory = 512;

/** A file that stays open while its client reads. */
class FileBody implements Producer {
  private readonly files: OpenFiles;
  private readonly descriptor: number;
  private readonly content: FileContent;
  /** The index of the current part, and the bytes of its range that are queued. */
  private part = 0;
  private sent = 0;

  constructor(files: OpenFiles, descriptor: number, content: FileContent) {
    this.files = files;
    this.descriptor = descriptor;
    this.content = content;
  }

  produce(connection: Connection): boolean {
    const { parts, suffix } = this.content;
    for (let left = outputSlice; left > 0; ) {
      const part = parts[this.part];
      if (part === undefined) {
        connection.producer = undefined;
        closeFile(this.files, connection);
        if (suffix.length > 0) sendBytes(connection, suffix);
        endResponse(connection);
        return false;
      }
      if (this.sent === 0 && part.prefix.length > 0) sendBytes(connection, part.prefix);
      const start = part.range.start + this.sent;
      const size = Math.min(left, part.range.end - start);
      if (!queueFile(connection, this.descriptor, start, size)) return false;
      left -= size;
      this.sent += size;
      if (start + size < part.range.end) continue;
      this.part++;
      this.sent = 0;
    }
    return true;
  }

  held(): number {
    return (1 + this.content.parts.length) * fileBodyMemory;
  }
}

/**
 * Reads a slice of the file into the output arena, and queues it.
 * @returns false if the file has become shorter: the content cannot be completed, so the connection is dropped
 */
function queueFile(connection: Connection, descriptor: number, start: number, size: number): boolean {
  const chunk = reserve(connection.server.arena, size);
  const from = chunk.used;
  while (chunk.used < from + size) {
    const at = start + chunk.used - from;
    const count = readSync(descriptor, chunk.bytes, chunk.used, from + size - chunk.used, at);
    if (count === 0) {
      chunk.used = from;
      connection.producer = undefined;
      noteEnding(connection, 'server', 'the file became shorter while it was sent');
      dropConnection(connection);
      return false;
    }
    chunk.used += count;
  }
  queueRange(connection, chunk, from, chunk.used);
  return true;
}

/** Files that are being sent, by their connections. */
export interface OpenFiles {
  readonly server: Server;
  readonly descriptors: Map<Connection, number>;
}

export function newOpenFiles(server: Server): OpenFiles {
  return { server, descriptors: new Map() };
}

/** Whether the content is queued at once, so the file does not stay open. */
function isShort(content: FileContent): boolean {
  return contentLength(content) <= outputSlice;
}

/** @throws ProtocolError 503 if no more files may stay open */
export function checkOpenFiles({ server }: OpenFiles, content: FileContent): void {
  if (isShort(content) || mayOpenFile(server)) return;
  throw new ProtocolError(503, 'too many files are being sent; try again later', { 'Retry-After': '1' });
}

/**
 * Sends the content after the head of the answer, and ends the answer.
 * @param descriptor owned by `files` from now on
 */
export function sendFile(
  files: OpenFiles,
  connection: Connection,
  descriptor: number,
  content: FileContent,
): void {
  files.descriptors.set(connection, descriptor);
  files.server.descriptors.files++;
  const body = new FileBody(files, descriptor, content);
  if (isShort(content)) {
    // Content of a whole slice needs a second call.
    while (body.produce(connection));
    return;
  }
  connection.producer = body;
  scheduleFlush(connection);
}

/** Closes the connection's file, if it has one. */
export function closeFile(files: OpenFiles, connection: Connection): void {
  const descriptor = files.descriptors.get(connection);
  if (descriptor === undefined) return;
  files.descriptors.delete(connection);
  files.server.descriptors.files--;
  closeSync(descriptor);
}
