/** One count of the descriptors in use, of all kinds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isShortOfDescriptors } from '../../src/core/admission.ts';
import { descriptorsInUse, mayOpen } from '../../src/core/descriptors.ts';
import { newServer, type Server } from '../../src/core/server.ts';
import { readConfiguration } from '../../src/options/configuration.ts';
import { spareDescriptors } from '../../src/protocol/limits.ts';

/** A server with 90 descriptors beside the reserve. */
function newSmallServer(): Server {
  return newServer(readConfiguration([], {}, ['echo', 'broadcast']), 90 + spareDescriptors);
}

test('descriptors of every kind are taken from the same number', () => {
  const server = newSmallServer();
  server.connections = 40;
  server.polling.clients = 10;
  server.descriptors.listeners = 2;
  server.descriptors.files = 20;
  server.descriptors.pipes = 9;
  assert.equal(descriptorsInUse(server), 61);
  assert.equal(isShortOfDescriptors(server), false);
  server.descriptors.pipes = 38;
  assert.equal(isShortOfDescriptors(server), true);
});

test('files and pipes get a third each, and no more than is free', () => {
  const server = newSmallServer();
  server.descriptors.files = 30;
  assert.equal(mayOpen(server, 'files', 1), false);
  server.descriptors.pipes = 27;
  assert.equal(mayOpen(server, 'pipes', 3), true);
  assert.equal(mayOpen(server, 'pipes', 4), false);
  server.connections = 31;
  assert.equal(mayOpen(server, 'pipes', 3), false, 'two descriptors are free');
});

test('without a limit of the system everything may be opened', () => {
  const server = newServer(readConfiguration([], {}, ['echo', 'broadcast']));
  server.descriptors.pipes = 1_000_000;
  assert.equal(mayOpen(server, 'pipes', 3), true);
});
