/**
 * How many micro-batches a pipeline stage keeps activations of, at the fullest moment of each schedule.
 *
 * | schedule    | forward passes held by stage i of p, m micro-batches, v chunks a stage           |
 * |-------------|----------------------------------------------------------------------------------|
 * | gpipe       | m                                                                                |
 * | 1f1b        | min(m, p - i)                                                                    |
 * | interleaved | min(m v, 2 (p - i - 1) + (v - 1) p + 1) chunks, each of 1/v of the stage's layers  |
 * | zb-h1       | min(m, p): weight gradients are put off so that every stage holds as much as the first |
 * | dualpipe    | min(m, p + 1), of two stages' layers: i and p - 1 - i (two copies of the weights)    |
 *
 * see: Narayanan et al., arXiv:2104.04473, section 2.2 and Megatron-LM's schedules; Qi et al., Zero Bubble, arXiv:2401.10241,
 * section 2; DeepSeek-V3, arXiv:2412.19437, table 2.
 */
export const SCHEDULES = ['gpipe', '1f1b', 'interleaved', 'zb-h1', 'dualpipe'] as const;
export type PipelineSchedule = (typeof SCHEDULES)[number];

/** Micro-batches of whole stages; a fraction where chunks of a stage are held by themselves. */
export function microBatchesInFlight(
  schedule: PipelineSchedule,
  stage: number,
  stages: number,
  chunks: number,
  microBatches: number,
): number {
  switch (schedule) {
    case 'gpipe':
      return microBatches;
    case '1f1b':
      return Math.min(microBatches, stages - stage);
    case 'interleaved':
      return Math.min(microBatches * chunks, 2 * (stages - stage - 1) + (chunks - 1) * stages + 1) / chunks;
    case 'zb-h1':
      return Math.min(microBatches, stages);
    case 'dualpipe':
      return Math.min(microBatches, stages + 1);
  }
}
