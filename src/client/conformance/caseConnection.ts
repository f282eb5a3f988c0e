/** One conformance case against a server: dials, shakes hands, and lets the case run until TCP ends. */
import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import type { ConformanceCase } from '../../conformance/case.ts';
import { beginOpening, invalidResponse, readResponse, withoutResponse } from '../../conformance/handshake.ts';
import type { TimedResult } from '../../conformance/reports/report.ts';
import {
  beginCase,
  type CaseRun,
  endCase,
  receiveBytes,
  takeOutput,
  timePassed,
} from '../../conformance/run.ts';
import type { CaseResult } from '../../conformance/verdict.ts';
import { ProtocolError } from '../../protocol/codes.ts';
import { parseResponseHead } from '../../protocol/http/head.ts';
import { defaults } from '../../protocol/limits.ts';
import type { ClientConfiguration } from '../configuration.ts';
import { openSocket } from '../dial.ts';

/** The shortest deadline of a case, in milliseconds. A good server answers at once, but its machine may be busy. */
const patience = 5000;

/** Milliseconds for a dropped socket to write the rest of its output. */
const lingerTime = 1000;

export function runCase(
  test: ConformanceCase,
  configuration: ClientConfiguration,
  identity: SecureContext | undefined,
): Promise<TimedResult> {
  const started = performance.now();
  const socket = openSocket(configuration, identity);
  const opening = beginOpening(test, configuration.request, randomBytes(16));
  return new Promise(resolve => {
    let head: Buffer = Buffer.alloc(0);
    let run: CaseRun | undefined;
    let result: CaseResult | undefined;
    let fault = '';
    const driver = newDriver(socket);
    const finish = (ended: CaseResult) => {
      result ??= ended;
      driver.drop();
    };
    const receiveHead = (chunk: Buffer) => {
      const seen = head.length;
      head = seen === 0 ? chunk : Buffer.concat([head, chunk]);
      try {
        const parsed = parseResponseHead(head, 0, head.length, defaults.maxHeader, seen);
        if (parsed === undefined) return;
        const response = readResponse(opening, parsed.head);
        if (!('deflate' in response)) return finish(response);
        clearTimeout(late);
        run = beginCase(test, 'client', response.deflate, patience);
        if (parsed.end < head.length) receiveBytes(run, head.subarray(parsed.end));
        driver.drive(run);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        finish(invalidResponse(test, error));
      }
    };
    const late = setTimeout(
      () => finish(withoutResponse(test, 'silence', false)),
      configuration.timeout > 0 ? configuration.timeout : defaults.handshakeTimeout,
    );
    socket.once(configuration.address.isSecure ? 'secureConnect' : 'connect', () =>
      driver.write(opening.writes),
    );
    socket.on('data', (chunk: Buffer) => {
      if (result !== undefined) return;
      if (run === undefined) return receiveHead(chunk);
      receiveBytes(run, chunk);
      driver.drive(run);
    });
    socket.on('error', error => {
      fault = error.message;
    });
    socket.on('close', () => {
      clearTimeout(late);
      driver.stop();
      const early = fault === '' ? 'the end of TCP' : `the end of TCP (${fault})`;
      result ??= run === undefined ? withoutResponse(test, early, true) : endCase(run);
      resolve({ ...result, duration: performance.now() - started });
    });
  });
}

interface CaseDriver {
  /** Writes each element in a separate turn. */
  write(pieces: readonly Buffer[]): void;
  /** Carries out the run's requests: output, timer, end. */
  drive(run: CaseRun): void;
  /** Ends TCP after the output. */
  drop(): void;
  stop(): void;
}

function newDriver(socket: Socket): CaseDriver {
  let pieces: Buffer[] = [];
  let isWriting = false;
  let isDropping = false;
  let timer: NodeJS.Timeout | undefined;
  const writeNext = () => {
    const piece = pieces.shift();
    isWriting = piece !== undefined && socket.writable;
    if (isWriting) {
      // A separate write is a separate packet, if the peer has read the previous one.
      socket.write(piece!, () => setImmediate(writeNext));
    } else if (isDropping) {
      socket.destroySoon();
    }
  };
  const driver: CaseDriver = {
    write(more) {
      pieces.push(...more);
      if (!isWriting) writeNext();
    },
    drive(run) {
      driver.write(takeOutput(run));
      if (run.isDropping) return driver.drop();
      if (!run.isWaitNew) return;
      run.isWaitNew = false;
      clearTimeout(timer);
      timer = setTimeout(() => {
        timePassed(run);
        driver.drive(run);
      }, run.wait);
    },
    drop() {
      if (isDropping) return;
      isDropping = true;
      clearTimeout(timer);
      timer = setTimeout(() => socket.destroy(), lingerTime);
      if (!isWriting) writeNext();
    },
    stop() {
      clearTimeout(timer);
      pieces = [];
    },
  };
  return driver;
}
