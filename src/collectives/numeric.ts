/**
 * The real result of a schedule: moves and reduces the bytes of the ranks' buffers, in the order that the schedule says.
 *
 * A reduction rounds once, to the buffers' dtype, as the hardware that adds into memory does: all addends that arrive for
 * one range in one step go through one n-buffer kernel. A step reads what was there before it: where a transfer reads a
 * range that the step also writes, its source is saved first. Ranges that overlap without being equal are written in the
 * order listed.
 *
 * Wire format: with `wire`, what leaves a rank is rounded to that format and arrives as such. FP32 buffers with BF16 on the
 * wire reduce in FP32; BF16 buffers round every partial sum to BF16. A rank's own copy of what it sends is not rounded.
 * Average: the sum, divided at the end by the number of ranks in the group, with one more rounding (integers: towards 0).
 * Leaves out: time (`collective-clock.ts`).
 */
import { expectOneOf } from '../base/errors.ts';
import { cast, type Rounding } from '../kernels/cast.ts';
import { copy, divide, type ReduceOperator, reduce } from '../kernels/collective.ts';
import type { DType } from '../kernels/dtype.ts';
import { expectLike, type Tensor } from '../kernels/tensor.ts';
import { ADD, DUPLICATE, type RankRanges, type Schedule, stepConflicts, type Transfers } from './schedule.ts';

export type Reduction = ReduceOperator | 'average';
const REDUCTIONS: readonly Reduction[] = ['sum', 'prod', 'max', 'min', 'average'];

export interface ReductionOptions {
  /** 'sum' if left out. Collectives that reduce nothing don't look at it. */
  readonly operator?: Reduction;
  /** Format that data is rounded to when it leaves a rank; the buffers' if left out. */
  readonly wire?: DType;
  /** Stochastic: every rounding has a stream of its own, from `stream` upwards. */
  readonly rounding?: Rounding;
}

export interface CollectiveRunOptions extends ReductionOptions {
  /** Format that partial results are held and reduced in; the inputs' if left out. */
  readonly accumulator?: DType;
}

/**
 * Runs `schedule` on one contiguous buffer of `schedule.elements` elements per rank; ranges that are neither input nor output
 * end undefined. For tensors of the collective's own shapes see `runCollective`.
 * @throws TypeError if the buffers are not of one dtype and one arena
 * @throws RangeError if there is not one buffer per rank, one has another length, or two overlap in memory
 */
export function executeNumeric(schedule: Schedule, buffers: readonly Tensor[], options: ReductionOptions = {}): void {
  checkTensors('buffers', buffers, new Float64Array(schedule.ranks).fill(schedule.elements));
  checkApart([{ name: 'buffers', tensors: buffers }]);
  if (schedule.ranks === 0) return;
  const { arena, dtype } = buffers[0]!;
  const switches = Array.from({ length: schedule.endpoints - schedule.ranks }, () =>
    arena.tensor(dtype, [schedule.elements]),
  );
  new Run(schedule, [...buffers, ...switches], options).execute();
  for (const buffer of switches) buffer.dispose();
}

/**
 * Runs `schedule` on inputs and outputs of the collective's own lengths (`schedule.input.length`, `schedule.output.length`).
 * The output of a rank may be its input, or a part of it, or hold it: then the collective is in place. Where nothing
 * arrives (permute), the output is zeros. Inputs that are not outputs stay as they are.
 * @throws TypeError if the tensors are not of one dtype and one arena
 * @throws RangeError if a tensor is missing or has another length, or shares memory with one of another rank
 */
export function runCollective(
  schedule: Schedule,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  options: CollectiveRunOptions = {},
): void {
  checkTensors('inputs', inputs, schedule.input.length);
  checkTensors('outputs', outputs, schedule.output.length);
  expectLike('outputs[0]', outputs[0]!, 'inputs[0]', inputs[0]!);
  checkApart([
    { name: 'inputs', tensors: inputs },
    { name: 'outputs', tensors: outputs },
  ]);
  const { arena, dtype } = inputs[0]!;
  const { accumulator = dtype, ...numeric } = options;
  // Outputs that are whole buffers are worked in; otherwise every rank gets a buffer of zeros.
  const isDirect = accumulator === dtype && schedule.output.length.every((length) => length === schedule.elements);
  const buffers = isDirect
    ? outputs.map((output) => output.reshape([output.length]))
    : inputs.map(() => {
        const buffer = arena.tensor(accumulator, [schedule.elements]);
        buffer.bytesView().fill(0);
        return buffer;
      });
  inputs.forEach((input, rank) => {
    cast(input, rangeOf(buffers, schedule.input, rank));
  });
  executeNumeric(schedule, buffers, numeric);
  if (isDirect) return;
  outputs.forEach((output, rank) => {
    cast(rangeOf(buffers, schedule.output, rank), output);
    buffers[rank]!.dispose();
  });
}

/** One execution: the buffers of all endpoints, and the next stream of random bits. */
class Run {
  readonly #schedule: Schedule;
  readonly #buffers: readonly Tensor[];
  readonly #operator: Reduction;
  readonly #wire: DType;
  readonly #rounding: Rounding;
  #roundings = 0;

  constructor(schedule: Schedule, buffers: readonly Tensor[], options: ReductionOptions) {
    this.#schedule = schedule;
    this.#buffers = buffers;
    this.#operator = expectOneOf('operator', options.operator ?? 'sum', REDUCTIONS);
    this.#wire = options.wire ?? buffers[0]!.dtype;
    this.#rounding = options.rounding ?? 'nearest';
  }

  execute(): void {
    const { steps, collective, output, groupSize } = this.#schedule;
    for (let step = 0; step < steps; step++) this.#step(this.#schedule.transfers(step));
    const isReduction = collective === 'all-reduce' || collective === 'reduce-scatter' || collective === 'reduce';
    if (this.#operator !== 'average' || !isReduction) return;
    groupSize.forEach((size, rank) => {
      if (size > 1) divide(rangeOf(this.#buffers, output, rank), size, this.#nextRounding());
    });
  }

  #step(transfers: Transfers): void {
    const saved = this.#save(transfers);
    const { destination, destinationOffset, length, action } = transfers;
    for (let t = 0, next = 0; t < length.length; t = next) {
      for (next = t + 1; next < length.length && joins(transfers, t, next); ) next++;
      const out = this.#view(destination[t]!, destinationOffset[t]!, length[t]!);
      const arriving: Tensor[] = [];
      const temporary: Tensor[] = [];
      for (let i = t; i < next; i++) {
        const source = saved.get(sourceKey(transfers, i)) ?? this.#source(transfers, i);
        const isRemote = transfers.source[i] !== destination[i] && action[i] !== DUPLICATE;
        const received = isRemote ? this.#onTheWire(source) : source;
        if (received !== source) temporary.push(received);
        arriving.push(received);
      }
      this.#write(action[t] === ADD ? [out, ...arriving] : arriving, out);
      for (const tensor of temporary) tensor.dispose();
    }
    for (const tensor of saved.values()) tensor.dispose();
  }

  #write(sources: readonly Tensor[], out: Tensor): void {
    if (sources.length === 1) copy(sources[0]!, out);
    else reduce(this.#operator === 'average' ? 'sum' : this.#operator, sources, out, this.#nextRounding());
  }

  /** `source` rounded to the wire's format and back, in a tensor of its own; `source` itself if that changes nothing. */
  #onTheWire(source: Tensor): Tensor {
    if (this.#wire === source.dtype) return source;
    const { arena, dtype, length } = source;
    using sent = arena.tensor(this.#wire, [length]);
    cast(source, sent, this.#nextRounding());
    const received = arena.tensor(dtype, [length]);
    cast(sent, received);
    return received;
  }

  /** Copies of the ranges that this step reads and also writes. */
  #save(transfers: Transfers): Map<string, Tensor> {
    const saved = new Map<string, Tensor>();
    for (const t of stepConflicts(transfers)) {
      const key = sourceKey(transfers, t);
      if (saved.has(key)) continue;
      const source = this.#source(transfers, t);
      const scratch = source.arena.tensor(source.dtype, [source.length]);
      copy(source, scratch);
      saved.set(key, scratch);
    }
    return saved;
  }

  #source({ source, sourceOffset, length }: Transfers, t: number): Tensor {
    return this.#view(source[t]!, sourceOffset[t]!, length[t]!);
  }

  #view(endpoint: number, offset: number, length: number): Tensor {
    return this.#buffers[endpoint]!.slice(offset, offset + length);
  }

  #nextRounding(): Rounding {
    if (this.#rounding === 'nearest') return 'nearest';
    return { ...this.#rounding, stream: this.#rounding.stream + this.#roundings++ };
  }
}

function sourceKey({ source, sourceOffset, length }: Transfers, t: number): string {
  return `${source[t]} ${sourceOffset[t]} ${length[t]}`;
}

/** Whether transfer b adds to what transfer a writes, so that both are one reduction. */
function joins({ destination, destinationOffset, length, action }: Transfers, a: number, b: number): boolean {
  return (
    action[a] !== DUPLICATE &&
    action[b] === ADD &&
    destination[a] === destination[b] &&
    destinationOffset[a] === destinationOffset[b] &&
    length[a] === length[b]
  );
}

function rangeOf(buffers: readonly Tensor[], { offset, length }: RankRanges, rank: number): Tensor {
  return buffers[rank]!.slice(offset[rank]!, offset[rank]! + length[rank]!);
}

function checkTensors(name: string, tensors: readonly Tensor[], lengths: Float64Array): void {
  if (tensors.length !== lengths.length) {
    throw new RangeError(`"${name}" expected one per rank, ${lengths.length}, got ${tensors.length}`);
  }
  tensors.forEach((tensor, rank) => {
    expectLike(`${name}[${rank}]`, tensor, `${name}[0]`, tensors[0]!);
    if (tensor.length !== lengths[rank]) {
      throw new RangeError(`"${name}[${rank}].length" expected ${lengths[rank]}, got ${tensor.length}`);
    }
  });
}

/** @throws RangeError if tensors of two ranks share memory. */
function checkApart(lists: readonly { name: string; tensors: readonly Tensor[] }[]): void {
  const all = lists.flatMap(({ name, tensors }) => tensors.map((tensor, rank) => ({ name, rank, tensor })));
  const sorted = all.filter(({ tensor }) => tensor.length > 0).sort((a, b) => a.tensor.offset - b.tensor.offset);
  let furthest = sorted[0];
  for (const entry of sorted.slice(1)) {
    const end = furthest!.tensor.offset + furthest!.tensor.bytes;
    if (entry.tensor.offset < end && entry.rank !== furthest!.rank) {
      throw new RangeError(
        `"${entry.name}[${entry.rank}]" expected memory of its own, got some of ${furthest!.name}[${furthest!.rank}]`,
      );
    }
    if (entry.tensor.offset + entry.tensor.bytes > end) furthest = entry;
  }
}
