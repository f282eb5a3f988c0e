/** Checks in advance whether one side can play a script. */
import { UsageError } from '../options/error.ts';
import { Opcode } from '../protocol/codes.ts';
import { isUsualForm } from './encode.ts';
import { isCapture } from './payload.ts';
import type { ScriptSide } from './player.ts';
import type { BytesLine, Direction, EndLine, FrameLine, Script, ScriptStep } from './script.ts';

/**
 * @throws UsageError for a line that this side cannot play: it sends an incomplete payload, awaits an invalid frame, or follows the
 *   end of the connection
 */
export function checkPlayable({ name, steps }: Script, side: ScriptSide): void {
  checkSteps(name, steps, side === 'server' ? '>' : '<', true);
}

function checkSteps(name: string, steps: readonly ScriptStep[], own: Direction, mayLeave: boolean): void {
  /** The awaited message that still lacks its last fragment. */
  let unfinished: FrameLine | undefined;
  for (const [index, step] of steps.entries()) {
    if (step.kind === 'repeat') checkSteps(name, step.steps, own, false);
    if (!('direction' in step)) continue;
    const isLast = mayLeave && index === steps.length - 1;
    const fault = step.direction === own ? faultOfSent(step, isLast) : faultOfAwaited(step, unfinished);
    if (fault !== undefined) throw new UsageError(`${name}: line ${step.line}: ${fault}`);
    if (step.direction !== own && isDataFrame(step)) unfinished = step.isFinal ? undefined : step;
  }
  if (unfinished !== undefined)
    throw new UsageError(
      `${name}: line ${unfinished.line}: the rest of the message is missing; add a line with continuation`,
    );
}

function isDataFrame(step: FrameLine | BytesLine | EndLine): step is FrameLine {
  return step.kind === 'frame' && (step.opcode === undefined || step.opcode < 8);
}

function faultOfSent(step: FrameLine | BytesLine | EndLine, isLast: boolean): string | undefined {
  if (step.kind === 'end' || step.kind === 'drop')
    return isLast ? undefined : 'the connection ends here; make it the last line';
  const isOpen = step.kind === 'frame' && (step.opcode === undefined || step.payload.some(isCapture));
  return isOpen ? 'a sent frame must be complete; write it without any and {{NAME?}}' : undefined;
}

function faultOfAwaited(
  step: FrameLine | BytesLine | EndLine,
  unfinished: FrameLine | undefined,
): string | undefined {
  const isContinuation = step.kind === 'frame' && step.opcode === Opcode.Continuation;
  if (isContinuation && unfinished === undefined)
    return 'there is no message to continue; write text or binary';
  if (!isContinuation && isDataFrame(step) && unfinished !== undefined)
    return `the message of line ${unfinished.line} is unfinished; write continuation`;
  if (step.kind === 'frame' && !step.isFinal && !isDataFrame(step))
    return 'a control frame has no fragments; remove more';
  const isVisible = step.kind === 'frame' ? isUsualForm(step.form) : step.kind !== 'bytes';
  return isVisible ? undefined : 'a script can only await valid frames; write the frame without options';
}
