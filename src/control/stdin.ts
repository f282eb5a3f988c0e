/** The door of whoever sits in front of the server: a line of stdin is a command. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Answer, Control } from './command.ts';
import { readLine } from './line.ts';
import { submit } from './observer.ts';

/** Takes commands from stdin, one after the other, until it ends; the server does not end with it. */
export async function takeStdin(control: Control): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() !== '') await obey(control, line);
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
        if (error !== undefined) process.stderr.write(`pollywog: ${error.message}\n`);
        then();
        resolve();
      },
      whenGone: () => {},
      afterwards(act) {
        then = act;
      },
    };
    try {
      const { call, isJson } = readLine(line, path => readFileSync(path));
      submit(control, call, { ...answer, isJson });
    } catch (error) {
      answer.end(error as Error);
    }
  });
}
