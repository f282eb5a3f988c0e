/** A site on PHP's own web server, as the manual starts it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Hooks } from './serverProcess.ts';

export interface PhpSite {
  readonly port: number;
  /** The folder of its files, which may change at any time. */
  readonly folder: string;
}

export const logoutPage = '<?php session_start(); session_destroy();';

/**
 * @param line `VARIABLE=VALUE php -S localhost:8000 -t FOLDER`
 * @param parent the folder in which FOLDER is
 */
export async function startPhp(test: Hooks, line: string, parent: string): Promise<PhpSite> {
  const [, variable = '', value = '', name = ''] =
    /^(\w+)=(\w+) php -S localhost:8000 -t (\w+)$/.exec(line.trim()) ?? [];
  if (name === '') throw new Error(`not a line that starts PHP: ${line}`);
  const [folder, sessions] = [join(parent, name), join(parent, 'sessions')];
  for (const one of [folder, sessions]) mkdirSync(one, { recursive: true });
  const words = ['-d', `session.save_path=${sessions}`, '-S', '127.0.0.1:0', '-t', folder];
  // Its workers are in its process group.
  const child = spawn('php', words, {
    detached: true,
    env: { ...process.env, [variable]: value },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const kill = () => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // It has ended.
    }
  };
  process.once('exit', kill);
  test.after(() => {
    process.off('exit', kill);
    kill();
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    said += text;
  });
  for (;;) {
    const port = /\(http:\/\/127\.0\.0\.1:(\d+)\) started/.exec(said)?.[1];
    if (port !== undefined) return { port: Number(port), folder };
    if (child.exitCode !== null) throw new Error(`php ended: ${said}`);
    await Promise.race([once(child.stderr, 'data'), once(child, 'exit')]);
  }
}
