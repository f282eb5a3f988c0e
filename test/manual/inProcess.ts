/** Lets the examples of a workshop import the package by its name. */
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../support/documents.ts';
import type { Workshop } from './examples.ts';

export function linkPackage({ folder }: Workshop): void {
  mkdirSync(join(folder, 'node_modules'), { recursive: true });
  symlinkSync(fileURLToPath(root), join(folder, 'node_modules/pollywog'));
}
