/** Descriptors of every kind share one limit. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isShortOfDescriptors } from '../../src/core/admission.ts';
import { descriptorsInUse, mayOpenPipes } from '../../src/core/descriptors.ts';
import { newServer } from '../../src/core/server.ts';
import { readConfiguration } from '../../src/options/configuration.ts';
import { reservedDescriptors } from '../../src/protocol/limits.ts';
import type { Server } from '../../src/records/records.ts';

/** A server that may open 90 descriptors beside the reserved ones. */
function newSmallServer(): Server {
  return newServer(readConfiguration([], {}, ['echo', 'broadcast']), 90 + reservedDescriptors);
}

test('connections, polls, listeners and pipes all count towards one limit of descriptors', () => {
  const server = newSmallServer();
  server.connections = 40;
  server.polling.clients = 10;
  server.descriptors.listeners = 2;
  server.descriptors.pipes = 29;
  assert.equal(descriptorsInUse(server), 61);
  assert.equal(isShortOfDescriptors(server), false);
  server.descriptors.pipes = 58;
  assert.equal(isShortOfDescriptors(server), true);
});

test('pipes get at most a third of the descriptors, and no more than are free', () => {
  const server = newSmallServer();
  server.descriptors.pipes = 27;
  assert.equal(mayOpenPipes(server, 3), true);
  assert.equal(mayOpenPipes(server, 4), false);
  server.connections = 61;
  assert.equal(mayOpenPipes(server, 3), false, 'two descriptors are free');
});

test('everything may be opened if the system sets no limit', () => {
  const server = newServer(readConfiguration([], {}, ['echo', 'broadcast']));
  server.descriptors.pipes = 1_000_000;
  assert.equal(mayOpenPipes(server, 3), true);
});
