/** The door of whoever sits in front of the server: a line of stdin is a command. */
import { readFileSync, statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { printableLine } from '../log/printable.ts';
import { maxCommandBody } from '../protocol/bounds.ts';
import type { Answer, Control } from './command.ts';
import { readLine, unreadable } from './line.ts';
import { submit } from './observer.ts';

/** Takes commands from stdin, one after the other, until it ends; the server does not end with it. */
export async function takeStdin(control: Control): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() !== '') await obey(control, line);
  }
}

/** A file alone, and not a large one: everyone waits while it is read. @throws UsageError */
function readBytes(path: string): Buffer {
  try {
    const found = statSync(path);
    if (!found.isFile()) throw new Error('it is no file');
    if (found.size > maxCommandBody) throw new Error(`it is longer than ${maxCommandBody} bytes`);
    return readFileSync(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Resolves when it is done; what goes on without end does not keep the next line waiting. */
function obey(control: Control, line: string): Promise<void> {
  return new Promise(resolve => {
    let then = () => {};
    const answer: Answer = {
      isJson: false,
      isGone: false,
      write: text => void process.stdout.write(text),
      flush: resolve,
      unsent: () => process.stdout.writableLength,
      end(error) {
        if (error !== undefined) process.stderr.write(`pollywog: ${printableLine(error.message)}\n`);
        then();
        resolve();
      },
      whenGone: () => {},
      afterwards(act) {
        then = act;
      },
    };
    try {
      const { call, isJson } = readLine(line, readBytes);
      submit(control, call, { ...answer, isJson });
    } catch (error) {
      answer.end(error as Error);
    }
  });
}
