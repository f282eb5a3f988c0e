#!/usr/bin/env node
/** The server's program. */
import { load } from './options/load.ts';

await load('pollywog', [
  () => import('./options/configuration.ts'),
  () => import('./core/connection.ts'),
  () => import('./core/send.ts'),
  () => import('./handlers/programs/perConnection.ts'),
  () => import('./handlers/chat/chat.ts'),
  () => import('./handlers/handlers.ts'),
  () => import('./handlers/modules/modules.ts'),
  () => import('./wires/http.ts'),
  // Loading the last parts and reading the histories would enlarge the young generation.
  async () => (await import('./process/v8.ts')).tuneV8(),
  () => import('./commands/cli.ts'),
  () => import('./commands/spool/spool.ts'),
  () => import('./core/serverLoop.ts'),
  () => import('./serve.ts'),
]);
