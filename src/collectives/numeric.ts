/**
 * The real result of a schedule: moves and adds the bytes of the ranks' buffers, in place.
 *
 * An add rounds once, to the buffers' dtype, as the hardware that adds into memory does. Transfers of a step that are
 * listed one after another and add to the same range are one sum with one rounding (a mesh adds its p - 1 peers so).
 * A step reads what was there before it: where a transfer reads a range that the step also writes, its source is saved
 * first. Ring steps never need that. Ranges that overlap without being equal are written in the order listed.
 * Leaves out: time (`clock.ts`), and dtypes wider than the buffers' on the wire.
 */
import { copy, sum } from '../kernels/collective.ts';
import { expectLike, type Tensor } from '../kernels/tensor.ts';
import { type Schedule, stepConflicts } from './schedule.ts';

/**
 * Runs `schedule` on one contiguous buffer of `schedule.elements` elements per rank.
 * @throws TypeError if the buffers are not of one dtype and one arena
 * @throws RangeError if there is not one buffer per rank, one has another length, or two overlap in memory
 */
export function executeNumeric(schedule: Schedule, buffers: readonly Tensor[]): void {
  checkBuffers(schedule, buffers);
  for (let step = 0; step < schedule.steps; step++) {
    const saved = saveSources(schedule, step, buffers);
    const source = (t: number): Tensor => saved.get(t) ?? sourceView(schedule, t, buffers);
    const end = schedule.stepStart[step + 1]!;
    let t = schedule.stepStart[step]!;
    while (t < end) {
      const out = view(buffers[schedule.destination[t]!]!, schedule.destinationOffset[t]!, schedule.length[t]!);
      let next = t + 1;
      while (next < end && addToSameRange(schedule, t, next)) next++;
      if (schedule.reduce[t]) {
        const addends = [out];
        for (let i = t; i < next; i++) addends.push(source(i));
        sum(addends, out);
      } else {
        copy(source(t), out);
      }
      t = next;
    }
    for (const tensor of saved.values()) tensor.dispose();
  }
}

function view(buffer: Tensor, offset: number, length: number): Tensor {
  return buffer.slice(offset, offset + length);
}

function sourceView(schedule: Schedule, transfer: number, buffers: readonly Tensor[]): Tensor {
  return view(buffers[schedule.source[transfer]!]!, schedule.sourceOffset[transfer]!, schedule.length[transfer]!);
}

/** Copies of the sources that this step would overwrite, by transfer. */
function saveSources(schedule: Schedule, step: number, buffers: readonly Tensor[]): Map<number, Tensor> {
  const saved = new Map<number, Tensor>();
  for (const t of stepConflicts(schedule, step)) {
    const source = sourceView(schedule, t, buffers);
    const scratch = source.arena.tensor(source.dtype, [source.length]);
    copy(source, scratch);
    saved.set(t, scratch);
  }
  return saved;
}

function addToSameRange({ destination, destinationOffset, length, reduce }: Schedule, a: number, b: number): boolean {
  return (
    reduce[a] === 1 &&
    reduce[b] === 1 &&
    destination[a] === destination[b] &&
    destinationOffset[a] === destinationOffset[b] &&
    length[a] === length[b]
  );
}

function checkBuffers(schedule: Schedule, buffers: readonly Tensor[]): void {
  if (buffers.length !== schedule.ranks) {
    throw new RangeError(`"buffers" expected one per rank, ${schedule.ranks}, got ${buffers.length}`);
  }
  buffers.forEach((buffer, rank) => {
    const name = `buffers[${rank}]`;
    expectLike(name, buffer, 'buffers[0]', buffers[0]!);
    if (buffer.length !== schedule.elements) {
      throw new RangeError(`"${name}.length" expected ${schedule.elements}, got ${buffer.length}`);
    }
  });
  const byOffset = buffers.map((buffer, rank) => ({ buffer, rank })).sort((a, b) => a.buffer.offset - b.buffer.offset);
  byOffset.slice(1).forEach(({ buffer, rank }, i) => {
    const before = byOffset[i]!;
    if (before.buffer.offset + before.buffer.bytes > buffer.offset) {
      throw new RangeError(`"buffers[${rank}]" expected memory of its own, got some of buffers[${before.rank}]`);
    }
  });
}
