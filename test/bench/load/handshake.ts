import type { HandshakeJob, Sample, Target } from '../jobs.ts';
import { dial, fail, failOnSilence, reset } from './dial.ts';
import { measure } from './measure.ts';

export async function loadHandshakes(target: Target, job: HandshakeJob): Promise<Sample> {
  let handshakes = 0;
  failOnSilence(5, () => `${handshakes} handshakes were done before`);
  const keepDialling = async () => {
    for (;;) {
      reset(await dial(target));
      handshakes++;
    }
  };
  for (let i = 0; i < job.parallel; i++) keepDialling().catch(fail);
  return measure(target, () => handshakes);
}
