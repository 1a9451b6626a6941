/**
 * A schedule on plain arrays in double precision: the shortest way to run one, without tensors, formats or kernels. Schedules
 * that users write are checked with it: on distinct whole numbers, whose sums are exact, a wrong schedule shows as a wrong sum.
 */
import { ModelError } from '../base/errors.ts';
import { type CollectiveDefinition, referenceOutputs } from './reference.ts';
import { ADD, DUPLICATE, type Schedule, stepConflicts } from './schedule.ts';

/** Largest size of all buffers together, and of all that moves, that a check takes on. */
const MAX_CHECKED = 2 ** 26;

/** The outputs by rank. `inputs`: by rank, of the lengths that the schedule says. Reductions are sums. */
export function interpretSchedule(schedule: Schedule, inputs: readonly ArrayLike<number>[]): Float64Array[] {
  const { ranks, endpoints, elements, input, output } = schedule;
  const buffers = Array.from({ length: endpoints }, () => new Float64Array(elements));
  for (let rank = 0; rank < ranks; rank++) buffers[rank]!.set(inputs[rank]!, input.offset[rank]);
  for (let step = 0; step < schedule.steps; step++) {
    const transfers = schedule.transfers(step);
    const { source, destination, sourceOffset, destinationOffset, length, action } = transfers;
    const read = (t: number): Float64Array =>
      buffers[source[t]!]!.subarray(sourceOffset[t]!, sourceOffset[t]! + length[t]!);
    const saved = new Map(stepConflicts(transfers).map((t) => [t, read(t).slice()]));
    for (let t = 0; t < length.length; t++) {
      const arriving = action[t] === DUPLICATE ? read(t) : (saved.get(t) ?? read(t));
      const target = buffers[destination[t]!]!;
      if (action[t] !== ADD) target.set(arriving, destinationOffset[t]!);
      else
        arriving.forEach((x, i) => {
          target[destinationOffset[t]! + i]! += x;
        });
    }
  }
  return Array.from({ length: ranks }, (_, rank) =>
    buffers[rank]!.slice(output.offset[rank]!, output.offset[rank]! + output.length[rank]!),
  );
}

/**
 * Runs `schedule` on small whole numbers, all different, and compares with the definition of the collective.
 * @throws ModelError WORKLOAD that says which rank ends with a wrong value, CAPACITY if the schedule is too large to be run
 */
export function verifySchedule(schedule: Schedule, definition: CollectiveDefinition, path: string): void {
  const { ranks, endpoints, elements, input } = schedule;
  let moved = endpoints * elements;
  for (let step = 0; step < schedule.steps && moved <= MAX_CHECKED; step++) {
    moved += schedule.transfers(step).length.reduce((sum, length) => sum + length, 0);
  }
  if (moved > MAX_CHECKED) {
    throw new ModelError('CAPACITY', path, `expected buffers and transfers of at most ${MAX_CHECKED} chunks, got more`);
  }
  const inputs = Array.from({ length: ranks }, (_, rank) =>
    // Distinct and without pattern, so that a wrong chunk or a chunk counted twice can't add up right.
    Float64Array.from({ length: input.length[rank]! }, (_, i) => Math.imul(rank * 65599 + i + 1, 0x9e3779b1) >>> 8),
  );
  const expected = referenceOutputs(definition, inputs);
  interpretSchedule(schedule, inputs).forEach((output, rank) => {
    const wrong = output.findIndex((x, i) => x !== expected[rank]![i]);
    if (wrong < 0 && output.length === expected[rank]!.length) return;
    const where = `rank ${rank} ends with a wrong value in chunk ${Math.max(wrong, 0)} of its output`;
    throw new ModelError('WORKLOAD', path, `expected a schedule of ${schedule.collective}, but ${where}`);
  });
}
