/** Commands that tell what happens, and what happened. */
import { type ClosedRecord, findEnded, lastFrames } from '../diagnostics/closedConnections.ts';
import { traceConnection, tracedConnections } from '../diagnostics/trace.ts';
import { watchLog } from '../log/log.ts';
import type { Kind } from '../options/values.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { maxUnwatched } from '../protocol/limits.ts';
import type { Command } from './command.ts';
import { administration } from './journal.ts';
import { findConnection, id } from './values.ts';

/** One, all or none. */
const traced: Kind<number | 'all' | 'off'> = {
  placeholder: 'ID|all|off',
  wants: 'the id of a connection such as 7, all, or off',
  parse: raw => (raw === 'all' || raw === 'off' ? raw : id.parse(raw)),
  show: String,
};

export const why: Command = {
  name: 'why',
  parameters: { id: { kind: id } },
  help: 'why a connection ended',
  run(control, { id: wanted }, answer) {
    const [newest, ...earlier] = findEnded(wanted as number);
    if (newest !== undefined) return answer.isJson ? newest : readable(newest, earlier.length);
    const entry = control.server.table.entries[wanted as number];
    if (entry?.kind !== 'connection' || entry.isControl) {
      throw new ProtocolError(404, `no connection ${wanted} is among the last that ended`);
    }
    return { id: wanted, why: 'it has not ended', frames: lastFrames(entry) };
  },
};

/** What people want to know first, first, and nothing that is not there. */
function readable({ why, id, ...rest }: ClosedRecord, earlier: number): Readonly<Record<string, unknown>> {
  const there = Object.entries(rest).filter(([, value]) => value !== null && value !== '');
  return { why, id, ...Object.fromEntries(there), earlierOfThisId: earlier || undefined };
}

export const trace: Command = {
  name: 'trace',
  parameters: { which: { kind: traced } },
  help: 'show frames in the log, and to watch',
  journal: administration,
  run(control, { which }) {
    if (typeof which === 'number') findConnection(control, which);
    traceConnection(which as number | 'all' | 'off');
    return { traced: tracedConnections() };
  },
};

export const watch: Command = {
  name: 'watch',
  parameters: {},
  help: 'tell what happens, until interrupted',
  streams: true,
  run(_control, _values, answer) {
    const hear = (line: string) => {
      if (answer.unsent() > maxUnwatched) return false;
      answer.write(line);
      answer.flush();
      return true;
    };
    answer.whenGone(watchLog(hear, 'debug', answer.isJson ? 'json' : 'text'));
    // It has begun, though nothing happens yet.
    answer.flush();
  },
};
