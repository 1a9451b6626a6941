/**
 * The order of the zero-bubble schedule ZB-H1: 1F1B with the backward pass in halves. Device d puts the weight gradients of
 * d micro-batches off to the end, where it would wait for others; so it holds d micro-batches longer, and p - d in the
 * pipeline, as many as the first device of 1F1B.
 * see: Qi et al., Zero Bubble Pipeline Parallelism, arXiv:2401.10241, section 2.2 and figure 3.
 */
import { FORWARD, INPUT, type Pass, WEIGHT } from './pass.ts';

/** Of device `stage` of `devices`. */
export function zeroBubblePasses(stage: number, devices: number, microBatches: number): Pass[] {
  const passes: Pass[] = [];
  const ahead = Math.min(devices - stage - 1, microBatches);
  const delay = Math.min(stage, microBatches);
  for (let i = 0; i < ahead; i++) passes.push({ kind: FORWARD, stage, microBatch: i });
  for (let i = 0; i < microBatches; i++) {
    if (ahead + i < microBatches) passes.push({ kind: FORWARD, stage, microBatch: ahead + i });
    passes.push({ kind: INPUT, stage, microBatch: i });
    if (i >= delay) passes.push({ kind: WEIGHT, stage, microBatch: i - delay });
  }
  for (let i = microBatches - delay; i < microBatches; i++) passes.push({ kind: WEIGHT, stage, microBatch: i });
  return passes;
}
