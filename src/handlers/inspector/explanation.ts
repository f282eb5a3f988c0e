/** Explanations of frames that the page has, on demand (explain/). */
import { explainFrame, newFrameStream, unknownBeginning } from '../../explain/frames.ts';
import type { FrameExplanation } from '../../explain/records.ts';
import { newDeflateContext } from '../../protocol/websocket/deflate.ts';
import { rulesOf } from './ledger.ts';
import type { ExplanationMessage } from './messages.ts';
import type { KeptFrame } from './watch.ts';

/** @returns a sentence if the frame cannot be explained */
export function explainKept(
  kept: ReadonlyMap<number, KeptFrame>,
  frame: number,
): ExplanationMessage | string {
  const wanted = kept.get(frame);
  if (wanted === undefined)
    return 'this is not a frame, its message is incomplete, or the server no longer has its bytes';
  if (wanted.isRedacted) return 'this frame contained a credential, so its bytes were not kept';
  const { raw, from, isDeflating, inflated } = wanted;
  if (raw === undefined) return 'the server no longer has the bytes of this frame';
  const stream = newFrameStream(from, isDeflating ? newDeflateContext(false, 15) : undefined);
  const fragments = fragmentsBefore(kept, wanted);
  // The server no longer has the first fragment.
  if ((fragments[0] ?? wanted).previous !== undefined) stream.message = unknownBeginning();
  for (const { raw: before } of fragments) explainFrame(stream, before!, 0);
  stream.inflated = inflated;
  stream.ending = undefined;
  const explanation = explainFrame(stream, raw, 0);
  return {
    type: 'explanation',
    frame,
    hex: raw.toString('hex'),
    explanation,
    rules: rulesOf(idsOf(explanation)),
  };
}

/** The frames of the same message before this one, as far as they are kept. */
function fragmentsBefore(kept: ReadonlyMap<number, KeptFrame>, { previous }: KeptFrame): KeptFrame[] {
  const fragments: KeptFrame[] = [];
  for (let before = previous; before !== undefined; ) {
    const fragment = kept.get(before);
    if (fragment?.raw === undefined) break;
    fragments.unshift(fragment);
    before = fragment.previous;
  }
  return fragments;
}

function idsOf({ fields, breach }: FrameExplanation): string[] {
  return [...new Set([...fields.flatMap(({ rules = [] }) => rules), ...(breach?.rules ?? [])])];
}
