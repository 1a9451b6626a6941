/**
 * Bring-up of the collectives: every collective by every algorithm that is defined for the chips of the system, on real
 * numbers, against the definition; and the time of the algorithm that the library would choose.
 *
 * The inputs are whole numbers, so sums are exact in FP32 and compared exactly. Sizes do not divide by the ranks.
 */
import { ModelError } from '../../base/errors.ts';
import { collectiveAlgorithms } from '../../collectives/algorithms/registry.ts';
import { buildSchedule, type ScheduleOptions, whyNot } from '../../collectives/build.ts';
import { CollectiveModel } from '../../collectives/collective-clock.ts';
import { circularPairs } from '../../collectives/groups.ts';
import { runCollective } from '../../collectives/numeric.ts';
import { referenceOutputs } from '../../collectives/reference.ts';
import { COLLECTIVES, type Collective } from '../../collectives/schedule.ts';
import type { Cluster } from '../../fabric/cluster.ts';
import type { Arena } from '../../kernels/index.ts';
import type { Check } from './check.ts';

/** Largest input of the clock's question: the size at which bandwidth counts. */
const TIMED_BYTES = 2 ** 26;

/** Whole numbers up to here keep the sum of a thousand ranks exact in FP32. */
const LARGEST = 4096;

export function checkCollectives(arena: Arena, cluster: Cluster): Check[] {
  if (cluster.ranks === 1) return [];
  const model = new CollectiveModel(cluster);
  return COLLECTIVES.filter((collective) => collective !== 'barrier').map((collective) => {
    const { ranks } = cluster;
    const definition = {
      collective,
      ranks,
      elements: 3 * ranks + 1,
      ...(collective === 'permute' || collective === 'send-recv' ? { pairs: circularPairs(ranks) } : {}),
    };
    const results = collectiveAlgorithms()
      .filter((algorithm) => whyNot(algorithm, collective, ranks, {}) === null)
      .map(({ name }) => ({ name, wrong: wrongRanks(arena, { ...definition, algorithm: name }) }));
    const failed = results.filter(({ wrong }) => wrong > 0);
    const timed = timeOf(model, collective, ranks);
    const done = `${results.length} algorithms over ${ranks} chips`;
    return {
      part: 'collective',
      name: collective,
      ok: results.length === 0 ? null : failed.length === 0,
      detail:
        failed.length > 0
          ? `wrong by ${failed.map(({ name, wrong }) => `${name} on ${wrong} ranks`).join(', ')}`
          : `${done}; ${timed === null ? 'not timed' : `64 MiB by ${timed.algorithm}`}`,
      time: timed?.time ?? 0,
      error: null,
    };
  });
}

function timeOf(model: CollectiveModel, collective: Collective, ranks: number) {
  try {
    return model.cost({ collective, bytes: TIMED_BYTES, group: { ranks, stride: 1 } });
  } catch (error) {
    // Not every collective has a plan on every machine.
    if (error instanceof RangeError || error instanceof ModelError) return null;
    throw error;
  }
}

/** Ranks whose output is not what the definition says. */
function wrongRanks(arena: Arena, options: ScheduleOptions): number {
  const schedule = buildSchedule(options);
  const inputs = Array.from({ length: schedule.ranks }, (_, rank) => {
    const length = schedule.input.length[rank]!;
    const values = Float32Array.from({ length }, (_, i) => (Math.imul(i + 1, 2654435761 + rank) >>> 8) % LARGEST);
    return arena.tensor('f32', [length]).set(values);
  });
  const outputs = Array.from(schedule.output.length, (length) => arena.tensor('f32', [length]));
  runCollective(schedule, inputs, outputs);
  const { algorithm: _, ...definition } = options;
  const expected = referenceOutputs(
    definition,
    inputs.map((tensor) => tensor.toFloat32()),
  );
  let wrong = 0;
  outputs.forEach((output, rank) => {
    const got = output.toFloat32();
    if (got.length !== expected[rank]!.length || got.some((value, i) => value !== expected[rank]![i])) wrong++;
  });
  for (const tensor of [...inputs, ...outputs]) tensor.dispose();
  return wrong;
}
