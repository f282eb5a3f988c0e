/** Converts the server's side of a recording to a script, for any client. */
import { Opcode } from '../protocol/codes.ts';
import { splitList } from '../protocol/http/fields.ts';
import { scriptTimeout } from '../protocol/scriptLimits.ts';
import { payloadStart } from '../protocol/websocket/frame.ts';
import type { Direction, FrameLine, Script, ScriptStep } from '../scripts/script.ts';
import type { FrameEvent, NumberedEvent, Recording } from './recording.ts';
import { type Expected, noBytes, sendAgain, showExpected } from './replay.ts';

/** The state of the conversion. */
interface Progress {
  /** The time of the last step. */
  at: number;
  isServerClosed: boolean;
  isClientClosed: boolean;
  /** The current message is sent as one frame without compression. */
  isLeftOut: boolean;
}

/**
 * Leaves out the client's pings and pongs, since the player answers pings and ignores pongs; and all events after the client sent
 * bytes that are not frames.
 * @param speed how much faster than recorded; Infinity: without pauses
 */
export function toScript({ name, events }: Recording, speed: number): Script {
  const progress: Progress = {
    at: events[0]?.at ?? 0,
    isServerClosed: false,
    isClientClosed: false,
    isLeftOut: false,
  };
  const steps: ScriptStep[] = [];
  let longest = 0;
  for (const event of events) {
    if (event.kind === 'bytes' && event.from === 'client') break;
    if (event.kind === 'response') progress.at = event.at;
    const step = stepOf(event, progress);
    if (step === undefined) continue;
    const gap = Math.min(longestGap, Math.max(0, event.at - progress.at));
    progress.at = event.at;
    const { line, source } = step;
    if (step.direction === '<') longest = Math.max(longest, gap);
    else if (gap / speed >= 1)
      steps.push({ kind: 'wait', line, source, time: Math.min(longestGap, Math.round(gap / speed)) });
    steps.push(step);
  }
  // The client may take as long as the recorded one.
  const timeout = Math.ceil(longest) + scriptTimeout;
  steps.unshift({ kind: 'timeout', line: 1, source: `timeout ${timeout}ms`, time: timeout });
  const subprotocol = subprotocolOf(events);
  return { name, steps, isStrict: false, ...(subprotocol === undefined ? {} : { subprotocol }) };
}

/** The subprotocol that the recorded server chose. */
function subprotocolOf(events: readonly NumberedEvent[]): Script['subprotocol'] {
  const response = events.find(({ kind }) => kind === 'response');
  if (response?.kind !== 'response') return undefined;
  const [token] = splitList(response.headers['sec-websocket-protocol'] ?? '');
  return token === undefined ? undefined : { token, line: response.line, source: `subprotocol ${token}` };
}

/** Node's timers are limited to 2^31 ms: this leaves room for the timeout of a script. */
const longestGap = 2 ** 30;

type DirectedStep = ScriptStep & { readonly direction: Direction };

function stepOf(event: NumberedEvent, progress: Progress): DirectedStep | undefined {
  const { line } = event;
  switch (event.kind) {
    case 'frame':
      return event.from === 'client' ? clientStep(event, progress) : serverStep(event, progress);
    case 'bytes':
      return { kind: 'bytes', direction: '>', line, source: 'bytes', bytes: event.bytes };
    case 'end': {
      // After close frames, the usual closing handshake ends the connection.
      if (progress.isServerClosed || progress.isClientClosed) return undefined;
      if (event.by === 'client') return { kind: 'end', direction: '<', line, source: 'end' };
      return { kind: 'drop', direction: '>', line, source: 'drop' };
    }
    default:
      return undefined;
  }
}

function clientStep(event: FrameEvent & NumberedEvent, progress: Progress): FrameLine | undefined {
  const { opcode, isFinal, content, line } = event;
  if (opcode === Opcode.Close) {
    progress.isClientClosed = true;
    const payload = content?.bytes ?? noBytes;
    // The answer to a close frame may have any code.
    const isAnswer = progress.isServerClosed;
    return frameLine('<', line, opcode, isAnswer ? undefined : payload, { kind: 'close', payload });
  }
  if (opcode >= 8 || !isFinal) return undefined;
  if (content === undefined) return frameLine('<', line, undefined, undefined, { kind: 'any message' });
  const whole = content.isText ? Opcode.Text : Opcode.Binary;
  return frameLine('<', line, whole, content.bytes, { kind: 'message', content });
}

/** @param payload undefined: any */
function frameLine(
  direction: Direction,
  line: number,
  opcode: number | undefined,
  payload: Buffer | undefined,
  shown: Expected,
): FrameLine {
  return {
    ...{ kind: 'frame', direction, line, opcode, source: showExpected(shown) },
    payload: payload === undefined ? (opcode === undefined ? [{ capture: '' }] : []) : [payload],
    ...{ isReasonFree: payload === undefined, isFinal: true, isCompressed: false, form: {} },
  };
}

function serverStep(event: FrameEvent & NumberedEvent, progress: Progress): FrameLine | undefined {
  const { opcode, isFinal, content, line } = event;
  // The player answers the pings of this client.
  if (opcode === Opcode.Pong) return undefined;
  if (opcode >= 8) {
    const payload = content?.bytes ?? noBytes;
    if (opcode === Opcode.Close) progress.isServerClosed = true;
    const shown: Expected =
      opcode === Opcode.Close
        ? { kind: 'close', payload }
        : { kind: 'message', content: { isText: false, bytes: payload } };
    return frameLine('>', line, opcode, payload, shown);
  }
  const again = sendAgain(event, progress);
  if (again === undefined) return undefined;
  if ('raw' in again) {
    const payload = again.raw.subarray(payloadStart(again.raw, 0));
    const shown: Expected = { kind: 'message', content: { isText: opcode === Opcode.Text, bytes: payload } };
    return { ...frameLine('>', line, opcode, payload, shown), isFinal };
  }
  return frameLine('>', line, again.opcode, again.content.bytes, { kind: 'message', content: again.content });
}
