#!/usr/bin/env node
/** The server's program. */
import { load } from './options/load.ts';

await load('pollywog', [
  () => import('./options/configuration.ts'),
  () => import('./connection/connection.ts'),
  () => import('./connection/send.ts'),
  () => import('./exec/programs.ts'),
  () => import('./session/chat.ts'),
  () => import('./session/handlers.ts'),
  () => import('./modules/modules.ts'),
  () => import('./wire/http.ts'),
  () => import('./control/commandLine.ts'),
  () => import('./control/spool.ts'),
  () => import('./loop/serverLoop.ts'),
  () => import('./serve.ts'),
]);
