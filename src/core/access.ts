/**
 * What an instruction reads and writes: tiles of SBUF and PSUM, blocks of tensors in HBM, at positions that depend on the
 * loops around it.
 *
 * On chip, data is two-dimensional: up to 128 partitions, each with `free` elements. A declaration holds `slots` equal
 * tiles (two slots make a double buffer); hazards are tracked slot by slot. Inside a partition a view is a nest of
 * [step, count] pairs, as the hardware's access patterns are: step 0 broadcasts. In HBM the same pattern starts at an element
 * offset in row-major order, and consecutive partitions are `partitionStep` elements apart.
 */
import { expectInteger } from '../base/errors.ts';
import type { DType } from '../kernels/dtype.ts';

/** A loop of a program; `id` numbers the loops in the order in which they are opened. */
export interface Loop {
  readonly id: number;
  readonly count: number;
}

/** An integer that grows linearly with the loops around an instruction: constant + sum of factor * loop. */
export class Index {
  readonly constant: number;
  readonly terms: readonly { readonly loop: Loop; readonly factor: number }[];

  constructor(constant: number, terms: Index['terms'] = []) {
    this.constant = constant;
    this.terms = terms;
  }

  static from(value: number | Index): Index {
    return value instanceof Index ? value : new Index(expectInteger('index', value, Number.MIN_SAFE_INTEGER));
  }

  plus(other: number | Index): Index {
    const { constant, terms } = Index.from(other);
    const factors = new Map(this.terms.map(({ loop, factor }) => [loop, factor]));
    for (const { loop, factor } of terms) factors.set(loop, (factors.get(loop) ?? 0) + factor);
    return new Index(
      this.constant + constant,
      Array.from(factors, ([loop, factor]) => ({ loop, factor })),
    );
  }

  times(scale: number): Index {
    expectInteger('scale', scale, Number.MIN_SAFE_INTEGER);
    return new Index(
      this.constant * scale,
      this.terms.map(({ loop, factor }) => ({ loop, factor: factor * scale })),
    );
  }

  /** Divided by what divides its constant and its factors. */
  over(divisor: number): Index {
    const divide = (value: number) => expectInteger(`index / ${divisor}`, value / divisor, Number.MIN_SAFE_INTEGER);
    return new Index(
      divide(this.constant),
      this.terms.map(({ loop, factor }) => ({ loop, factor: divide(factor) })),
    );
  }

  /** The smallest value over all iterations. */
  get min(): number {
    return this.terms.reduce((sum, { loop, factor }) => sum + Math.min(0, factor * (loop.count - 1)), this.constant);
  }

  /** The largest value over all iterations. */
  get max(): number {
    return this.terms.reduce((sum, { loop, factor }) => sum + Math.max(0, factor * (loop.count - 1)), this.constant);
  }
}

/** [step in elements, count], outermost first. */
export type Pattern = readonly (readonly [step: number, count: number])[];

function patternLength(pattern: Pattern): number {
  return pattern.reduce((product, [, count]) => product * count, 1);
}

/** Offset of the last element from the first; checks the pattern on the way. */
function patternReach(pattern: Pattern): number {
  return pattern.reduce((sum, [step, count]) => {
    expectInteger('pattern step', step);
    return sum + step * (expectInteger('pattern count', count, 1) - 1);
  }, 0);
}

/** A declaration of on-chip memory. */
export interface Tile {
  readonly id: number;
  readonly name: string;
  readonly buffer: 'sbuf' | 'psum';
  readonly dtype: DType;
  readonly partitions: number;
  /** Elements per partition of one slot. */
  readonly free: number;
  readonly slots: number;
  /** First partition, and byte offset of slot 0 in each partition. */
  readonly startPartition: number;
  readonly address: number;
  /** Bytes per partition of one slot; a PSUM slot takes whole banks. */
  readonly slotBytes: number;
}

/** A tensor in device memory, row-major. */
export interface HbmTensor {
  readonly id: number;
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly role: 'input' | 'output' | 'scratch';
}

/** Part of a tile, of one slot. */
export class TileView {
  readonly kind = 'tile';
  readonly tile: Tile;
  readonly slotIndex: Index;
  /** First partition within the tile. */
  readonly partition: number;
  readonly partitions: number;
  readonly offset: Index;
  readonly pattern: Pattern;

  constructor(tile: Tile, slotIndex: Index, partition: number, partitions: number, offset: Index, pattern: Pattern) {
    this.tile = tile;
    this.slotIndex = slotIndex;
    this.partition = partition;
    this.partitions = partitions;
    this.offset = offset;
    this.pattern = pattern;
  }

  /** Elements of each partition. */
  get length(): number {
    return patternLength(this.pattern);
  }

  get dtype(): DType {
    return this.tile.dtype;
  }

  /** The same part of slot `index` modulo the number of slots. */
  slot(index: number | Index): TileView {
    const slotIndex = Index.from(index);
    expectInteger('slot', slotIndex.min);
    return new TileView(this.tile, slotIndex, this.partition, this.partitions, this.offset, this.pattern);
  }

  /** Partitions [start, start + count) of this view. */
  rows(start: number, count: number): TileView {
    expectInteger('start', start, 0, this.partitions - 1);
    expectInteger('count', count, 1, this.partitions - start);
    return new TileView(this.tile, this.slotIndex, this.partition + start, count, this.offset, this.pattern);
  }

  /** Elements [start, start + count) of each partition; only of a view that is contiguous so far. */
  columns(start: number | Index, count: number): TileView {
    return this.access(start, [[1, count]]);
  }

  /** Any access pattern from element `start` of each partition on; only of a view that is contiguous so far. */
  access(start: number | Index, pattern: Pattern): TileView {
    if (this.pattern.length !== 1 || this.pattern[0]![0] !== 1) {
      throw new RangeError(`"access" expected a contiguous view of ${this.tile.name}, got one with a pattern`);
    }
    const first = Index.from(start);
    const reach = first.max + patternReach(pattern);
    if (first.min < 0 || reach >= this.length) {
      const got = `${first.min}..${reach}`;
      throw new RangeError(`"access" expected elements 0..${this.length - 1} of ${this.tile.name}, got ${got}`);
    }
    return new TileView(this.tile, this.slotIndex, this.partition, this.partitions, this.offset.plus(first), pattern);
  }
}

/** Part of a tensor in HBM, laid out over partitions. */
export class HbmView {
  readonly kind = 'hbm';
  readonly tensor: HbmTensor;
  readonly offset: Index;
  readonly partitionStep: number;
  readonly partitions: number;
  readonly pattern: Pattern;

  constructor(tensor: HbmTensor, offset: Index, partitionStep: number, partitions: number, pattern: Pattern) {
    expectInteger('partitionStep', partitionStep);
    expectInteger('partitions', partitions, 1);
    const elements = tensor.shape.reduce((product, size) => product * size, 1);
    const reach = offset.max + partitionStep * (partitions - 1) + patternReach(pattern);
    if (offset.min < 0 || reach >= elements) {
      const got = `${offset.min}..${reach}`;
      throw new RangeError(`"${tensor.name}" expected elements 0..${elements - 1}, got an access to ${got}`);
    }
    this.tensor = tensor;
    this.offset = offset;
    this.partitionStep = partitionStep;
    this.partitions = partitions;
    this.pattern = pattern;
  }

  get length(): number {
    return patternLength(this.pattern);
  }

  get dtype(): DType {
    return this.tensor.dtype;
  }
}

export type View = TileView | HbmView;

/**
 * A block of the last two dimensions of `tensor`: rows [row, row + rows) over the partitions, columns [column, column +
 * columns) inside each. `lead` indexes the dimensions before, one entry each.
 */
export function block(
  tensor: HbmTensor,
  [row, rows]: readonly [number | Index, number],
  [column, columns]: readonly [number | Index, number],
  lead: readonly (number | Index)[] = [],
): HbmView {
  const { shape } = tensor;
  if (shape.length < 2 || lead.length !== shape.length - 2) {
    throw new RangeError(`"lead" expected ${shape.length - 2} indices of ${tensor.name}, got ${lead.length}`);
  }
  const width = shape.at(-1)!;
  const height = shape.at(-2)!;
  const inside = (name: string, start: number | Index, count: number, size: number): Index => {
    const index = Index.from(start);
    expectInteger(`${tensor.name} ${name}`, count, 1);
    if (index.min < 0 || index.max + count > size) {
      const got = `${index.min}..${index.max + count - 1}`;
      throw new RangeError(`"${tensor.name} ${name}" expected 0..${size - 1}, got ${got}`);
    }
    return index;
  };
  let offset = inside('rows', row, rows, height)
    .times(width)
    .plus(inside('columns', column, columns, width));
  let stride = width * height;
  for (let d = shape.length - 3; d >= 0; d--) {
    offset = offset.plus(inside('lead', lead[d]!, 1, shape[d]!).times(stride));
    stride *= shape[d]!;
  }
  return new HbmView(tensor, offset, width, rows, [[1, columns]]);
}
