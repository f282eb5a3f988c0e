#!/usr/bin/env node
/** The client's program. */
import { load } from './options/load.ts';

await load('pollywog-client', [() => import('./client/program.ts')]);
