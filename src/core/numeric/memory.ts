/**
 * The memories that a program touches, as tensors of one arena: a tensor [partitions, free] for each slot of a tile, made when it
 * is first written, and the caller's tensors for HBM.
 *
 * Fresh memory holds NaN (integers: bytes 0xA5), and a read of what nothing has written is an error. Tiles that the program
 * declares in turn over the same addresses are tensors of their own; writing one forgets the other, as it would on the chip.
 */
import { ModelError } from '../../base/errors.ts';
import type { Arena } from '../../kernels/arena.ts';
import { DTYPES, type DType } from '../../kernels/dtype.ts';
import type { Tensor } from '../../kernels/tensor.ts';
import type { HbmTensor, Index, Pattern, Tile, View } from '../access.ts';
import { Coverage } from './coverage.ts';

/** One slot of a tile, or a tensor in HBM. */
export interface Store {
  /** For errors: tile "a"[0]. */
  readonly name: string;
  readonly dtype: DType;
  /** Elements from one row to the next: partitions of a tile, rows of the last two dimensions of a tensor. */
  readonly columns: number;
  tensor: Tensor | null;
  /** Null where the caller wrote everything. */
  readonly written: Coverage | null;
  /** Other slots at the same addresses. */
  readonly overlaps: readonly Store[];
}

/** Values of the loops, by id, in the iteration that runs. */
export type Counters = Float64Array;

const NOT_A_NUMBER_BYTE = 0xff;
const INTEGER_BYTE = 0xa5;

/** A function that computes `index` from the counters. */
export function evaluator({ constant, terms }: Index, counters: Counters): () => number {
  const moving = terms.filter(({ factor }) => factor !== 0);
  if (moving.length === 0) return () => constant;
  const [first] = moving;
  if (moving.length === 1) {
    const { factor, loop } = first!;
    return () => constant + factor * counters[loop.id]!;
  }
  return () => moving.reduce((sum, { loop, factor }) => sum + factor * counters[loop.id]!, constant);
}

/** Fresh contents of a tensor that nothing has written. */
export function poison(tensor: Tensor): void {
  tensor.bytesView().fill(tensor.dtype === 'i8' || tensor.dtype === 'i32' ? INTEGER_BYTE : NOT_A_NUMBER_BYTE);
}

/** The pattern with neighbouring dimensions joined where they are one run, and dimensions of one element dropped. */
function simplify(pattern: Pattern): [step: number, count: number][] {
  const simple: [number, number][] = [];
  for (const [step, count] of pattern) {
    const outer = simple.at(-1);
    if (count === 1) continue;
    if (outer !== undefined && outer[0] === step * count) simple[simple.length - 1] = [step, outer[1] * count];
    else simple.push([step, count]);
  }
  return simple;
}

/** Offsets of the elements of a pattern, in its order. */
function offsets(pattern: Pattern): number[] {
  return pattern.reduce<number[]>(
    (outer, [step, count]) => outer.flatMap((offset) => Array.from({ length: count }, (_, i) => offset + i * step)),
    [0],
  );
}

/** An operand of an instruction: its shape and layout, which stay, and its place, which moves with the loops. */
export class Operand {
  readonly dtype: DType;
  readonly partitions: number;
  /** Elements of each partition. */
  readonly length: number;
  /** Bytes from one partition to the next. */
  readonly stride: number;
  /** Adjacent elements at a time: `length` if the pattern has no steps but 1. */
  readonly run: number;
  /** Byte offsets of the runs within a partition. */
  readonly starts: Int32Array;
  readonly #where: string;
  readonly #view: View;
  /** Elements [start, length) that the runs touch, in ascending order, joined where they are adjacent. */
  readonly #touched: readonly (readonly [start: number, length: number])[];
  readonly #store: () => Store;
  readonly #offset: () => number;

  constructor(where: string, view: View, stores: readonly Store[], counters: Counters) {
    const [store] = stores as [Store];
    this.#where = where;
    this.#view = view;
    this.dtype = store.dtype;
    this.partitions = view.partitions;
    this.length = view.length;
    const { bytes } = DTYPES[store.dtype];
    this.stride = (view.kind === 'tile' ? store.columns : view.partitionStep) * bytes;
    const pattern = simplify(view.pattern);
    const [step, count] = pattern.at(-1) ?? [1, 1];
    this.run = step === 1 ? count : 1;
    const starts = offsets(step === 1 ? pattern.slice(0, -1) : pattern);
    this.starts = Int32Array.from(starts, (start) => start * bytes);
    this.#touched = joinRuns(starts, this.run);
    this.#offset = evaluator(view.offset, counters);
    if (view.kind === 'hbm' || stores.length === 1) this.#store = () => store;
    else {
      const slot = evaluator(view.slotIndex, counters);
      this.#store = () => stores[slot() % stores.length]!;
    }
  }

  /** Whether the elements of each partition are one run. */
  get isAdjacent(): boolean {
    return this.starts.length === 1;
  }

  /** Whether the elements of all partitions are one run. */
  get isContiguous(): boolean {
    return this.isAdjacent && (this.partitions === 1 || this.stride === this.length * DTYPES[this.dtype].bytes);
  }

  get elements(): number {
    return this.partitions * this.length;
  }

  get bytes(): number {
    return this.elements * DTYPES[this.dtype].bytes;
  }

  /** Byte address of the first element in this iteration. Makes the slot if this is its first use. */
  address(arena: Arena): number {
    const store = this.#store();
    const skipped = this.#firstRow * store.columns + this.#offset();
    return tensorOf(store, arena, this.#view).offset + skipped * DTYPES[store.dtype].bytes;
  }

  /** The operand as a matrix [partitions, length]; only of a tile and of adjacent elements. */
  matrix(arena: Arena): Tensor {
    const first = this.#firstRow;
    const left = this.#offset();
    return tensorOf(this.#store(), arena, this.#view)
      .rows(first, first + this.partitions)
      .columns(left, left + this.length);
  }

  /** @throws ModelError (PROGRAM) if the instruction reads what nothing has written */
  expectWritten(): void {
    const { written, name } = this.#store();
    if (written === null || written.isFull) return;
    const isWritten = this.#rectangles((top, rows, left, columns) => written.covers(top, rows, left, columns));
    if (isWritten) return;
    const elements = `elements ${this.#offset()}.. of ${this.partitions} x ${this.length}`;
    throw new ModelError('PROGRAM', this.#where, `reads ${name} that nothing has written (${elements})`);
  }

  /** To be called after each write. */
  markWritten(): void {
    const { written, overlaps } = this.#store();
    if (written !== null && !written.isFull) {
      this.#rectangles((top, rows, left, columns) => {
        written.add(top, rows, left, columns);
        return true;
      });
    }
    for (const other of overlaps) {
      other.written?.clear();
      other.tensor?.dispose();
      other.tensor = null;
    }
  }

  get #firstRow(): number {
    return this.#view.kind === 'tile' ? this.#view.partition : 0;
  }

  /** The rectangles of the store that this operand touches; stops when `visit` says no. */
  #rectangles(visit: (top: number, rows: number, left: number, columns: number) => boolean): boolean {
    const offset = this.#offset();
    const view = this.#view;
    if (view.kind === 'tile') {
      return this.#touched.every(([start, length]) => visit(view.partition, view.partitions, offset + start, length));
    }
    const { columns } = this.#store();
    return this.#touched.every(([start, length]) => {
      const left = (offset + start) % columns;
      if (left + length <= columns && (view.partitionStep === columns || view.partitions === 1)) {
        return visit(Math.floor((offset + start) / columns), view.partitions, left, length);
      }
      for (let partition = 0; partition < view.partitions; partition++) {
        if (!rowsOfRun(offset + start + partition * view.partitionStep, length, columns, visit)) return false;
      }
      return true;
    });
  }
}

function joinRuns(starts: readonly number[], run: number): [start: number, length: number][] {
  const joined: [number, number][] = [];
  for (const start of Float64Array.from(starts).sort()) {
    const last = joined.at(-1);
    if (last === undefined || start > last[0] + last[1]) joined.push([start, run]);
    else last[1] = Math.max(last[1], start + run - last[0]);
  }
  return joined;
}

/** A run of elements of a row-major matrix: the end of a row, whole rows, the beginning of a row. */
function rowsOfRun(
  begin: number,
  length: number,
  columns: number,
  visit: (top: number, rows: number, left: number, columns: number) => boolean,
): boolean {
  const end = begin + length;
  for (let at = begin; at < end; ) {
    const left = at % columns;
    const row = Math.floor(at / columns);
    const rows = left === 0 ? Math.floor((end - at) / columns) : 0;
    const taken = rows > 0 ? rows * columns : Math.min(columns - left, end - at);
    if (!visit(row, Math.max(rows, 1), left, Math.min(taken, columns))) return false;
    at += taken;
  }
  return true;
}

function tensorOf(store: Store, arena: Arena, view: View): Tensor {
  if (store.tensor === null) {
    store.tensor = arena.tensor(store.dtype, [view.kind === 'tile' ? view.tile.partitions : 1, store.columns]);
    poison(store.tensor);
  }
  return store.tensor;
}

/** The slots of all tiles, by tile id, with those that share addresses linked. */
export function tileStores(tiles: readonly Tile[], storageOf: (dtype: DType) => DType): Store[][] {
  const stores = tiles.map((tile) =>
    Array.from({ length: tile.slots }, (_, slot) => ({
      name: `tile "${tile.name}"[${slot}]`,
      dtype: storageOf(tile.dtype),
      columns: tile.free,
      tensor: null,
      written: new Coverage(tile.partitions, tile.free),
      overlaps: [] as Store[],
    })),
  );
  for (const [i, a] of tiles.entries()) {
    for (const b of tiles.slice(i + 1)) linkOverlaps(a, stores[a.id]!, b, stores[b.id]!);
  }
  return stores;
}

type LinkedStore = Store & { readonly overlaps: Store[] };

function linkOverlaps(a: Tile, aSlots: readonly LinkedStore[], b: Tile, bSlots: readonly LinkedStore[]): void {
  const isApart = (aFirst: number, aLast: number, bFirst: number, bLast: number) => aLast <= bFirst || bLast <= aFirst;
  const aEnd = a.address + a.slots * a.slotBytes;
  const bEnd = b.address + b.slots * b.slotBytes;
  if (a.buffer !== b.buffer || isApart(a.address, aEnd, b.address, bEnd)) return;
  const [p, q] = [a.startPartition, b.startPartition];
  if (isApart(p, p + a.partitions, q, q + b.partitions)) return;
  for (const [i, aSlot] of aSlots.entries()) {
    const start = a.address + i * a.slotBytes;
    const first = Math.max(0, Math.floor((start - b.address) / b.slotBytes));
    const last = Math.min(b.slots, Math.ceil((start + a.slotBytes - b.address) / b.slotBytes));
    for (const bSlot of bSlots.slice(first, Math.max(first, last))) {
      aSlot.overlaps.push(bSlot);
      bSlot.overlaps.push(aSlot);
    }
  }
}

/** A tensor of HBM; `isInput`: the caller wrote it. */
export function hbmStore({ name, shape }: HbmTensor, tensor: Tensor, isInput: boolean): Store {
  const columns = shape.at(-1) ?? 1;
  const written = isInput ? null : new Coverage(tensor.length / columns, columns);
  return { name: `tensor "${name}"`, dtype: tensor.dtype, columns, tensor, written, overlaps: [] };
}
