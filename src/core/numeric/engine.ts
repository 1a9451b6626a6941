/**
 * How every engine reads and writes: operands come in as FP32, [partitions, length] without gaps, and results are
 * rounded once when they are stored. That is what the hardware does: FP32 inside, the storage format outside.
 *
 * Instructions are prepared once and run many times. Preparing decides how an operand is moved and how large the buffers
 * between memory and engine must be; running moves and computes. Formats are converted by the kernels alone: typed arrays
 * move elements of 1, 2 or 4 bytes here, whatever they mean.
 */
import type { Arena } from '../../kernels/arena.ts';
import type { Rounding } from '../../kernels/cast.ts';
import { expectRounded, narrow, widen } from '../../kernels/convert.ts';
import { DTYPES } from '../../kernels/dtype.ts';
import type { Tensor } from '../../kernels/tensor.ts';
import type { Index, View } from '../access.ts';
import { type Counters, evaluator, Operand, type Store } from './memory.ts';

/** Runs of at least so many elements are converted, or of so many bytes moved, by a call each: a call costs some 30 ns. */
const CALL_RUN = 16;
const CALL_BYTES = 64;

/** Runs an instruction in the iteration that the counters say. */
export type Step = () => void;

/** Reads an operand; returns the byte address of its elements without gaps, which is good until the instruction ends. */
export type Reader = () => number;

export interface Writer {
  /** Byte address of room for the result without gaps. */
  open(): number;
  /** Stores what is there. */
  close(): void;
}

/** The stores of a program that runs: slots by tile id, tensors by their id. */
export interface Stores {
  readonly tiles: readonly (readonly Store[])[];
  readonly tensors: readonly Store[];
}

/** Working space that the instructions share: each takes it for as long as it runs. */
interface Buffer {
  bytes: number;
  address: number;
}

export class EngineMemory {
  readonly arena: Arena;
  readonly #counters: Counters;
  readonly #stores: Stores;
  readonly #rounding: Rounding;
  readonly #buffers: Map<string, Buffer> = new Map();
  readonly #matrices: Map<string, Tensor> = new Map();
  /** Stochastic results so far: each is a stream of random bits of its own. */
  #results = 0;
  #memory: ArrayBufferLike | null = null;
  #bytes: Uint8Array = new Uint8Array();
  #halves: Uint16Array = new Uint16Array();
  #words: Int32Array = new Int32Array();
  #floats: Float32Array = new Float32Array();

  constructor(arena: Arena, stores: Stores, counters: Counters, rounding: Rounding) {
    this.arena = arena;
    this.#stores = stores;
    this.#counters = counters;
    this.#rounding = rounding;
  }

  /** The memory as numbers; good until the next allocation, so to be fetched after all operands are read. */
  get floats(): Float32Array {
    this.#refresh();
    return this.#floats;
  }

  get words(): Int32Array {
    this.#refresh();
    return this.#words;
  }

  get bytes(): Uint8Array {
    this.#refresh();
    return this.#bytes;
  }

  operand(where: string, view: View): Operand {
    const stores = view.kind === 'tile' ? this.#stores.tiles[view.tile.id]! : [this.#stores.tensors[view.tensor.id]!];
    return new Operand(where, view, stores, this.#counters);
  }

  evaluate(index: Index): () => number {
    return evaluator(index, this.#counters);
  }

  /** A buffer of at least `bytes`, from `open` on. */
  reserve(name: string, bytes: number): Buffer {
    const buffer = this.#buffers.get(name) ?? { bytes: 0, address: -1 };
    buffer.bytes = Math.max(buffer.bytes, bytes);
    this.#buffers.set(name, buffer);
    return buffer;
  }

  /** An FP32 matrix to work in; instructions of one shape share it. */
  matrix(name: string, rows: number, columns: number): Tensor {
    const key = `${name} ${rows} x ${columns}`;
    const matrix = this.#matrices.get(key) ?? this.arena.tensor('f32', [rows, columns]);
    this.#matrices.set(key, matrix);
    return matrix;
  }

  /** Makes the buffers, after all instructions are prepared. */
  open(): void {
    for (const buffer of this.#buffers.values()) buffer.address = this.arena.allocate(buffer.bytes);
  }

  /** Gives back the buffers and the tiles. */
  dispose(): void {
    for (const { address } of this.#buffers.values()) if (address >= 0) this.arena.release(address);
    for (const matrix of this.#matrices.values()) matrix.dispose();
    for (const { tensor } of this.#stores.tiles.flat()) tensor?.dispose();
  }

  /** Reads the elements of `view` as they are stored. `name` tells the operands of an instruction apart. */
  rawReader(where: string, view: View, name: string): Reader {
    const operand = this.operand(where, view);
    const { arena } = this;
    if (operand.isContiguous) {
      return () => {
        operand.expectWritten();
        return operand.address(arena);
      };
    }
    const packed = this.reserve(`${name} packed`, operand.bytes);
    const move = this.mover(operand, null);
    return () => {
      operand.expectWritten();
      move(operand.address(arena), packed.address);
      return packed.address;
    };
  }

  /** Reads `view` as FP32. */
  reader(where: string, view: View, name: string): Reader {
    const operand = this.operand(where, view);
    const { dtype, partitions, stride, run, starts, elements } = operand;
    if (dtype === 'f32') return this.rawReader(where, view, name);
    const { arena } = this;
    const wide = this.reserve(name, elements * 4);
    if (!operand.isContiguous && (operand.isAdjacent || run >= CALL_RUN)) {
      const kernel = arena.kernels[`widen_${dtype}`];
      return () => {
        operand.expectWritten();
        const from = operand.address(arena);
        let to = wide.address;
        for (let p = 0; p < partitions; p++) {
          for (const start of starts) {
            kernel(run, from + p * stride + start, to);
            to += run * 4;
          }
        }
        return wide.address;
      };
    }
    const read = this.rawReader(where, view, name);
    return () => {
      widen(arena, dtype, elements, read(), wide.address);
      return wide.address;
    };
  }

  /** Writes the elements of `view` as they are stored. `inputs`: what the instruction reads. */
  rawWriter(where: string, view: View, name: string, inputs: readonly View[]): Writer {
    const operand = this.operand(where, view);
    const { arena } = this;
    // Straight to its place unless an operand that is still to be read may lie there.
    if (operand.isContiguous && inputs.every((input) => !isSameMemory(input, view))) {
      return { open: () => operand.address(arena), close: () => operand.markWritten() };
    }
    const packed = this.reserve(`${name} packed`, operand.bytes);
    const move = this.mover(null, operand);
    const close = () => {
      move(packed.address, operand.address(arena));
      operand.markWritten();
    };
    return { open: () => packed.address, close };
  }

  /** Writes `view` from FP32, rounded once. */
  writer(where: string, view: View, name: string, inputs: readonly View[]): Writer {
    const operand = this.operand(where, view);
    if (operand.dtype === 'f32') return this.rawWriter(where, view, name, inputs);
    const { arena } = this;
    const dtype = expectRounded('out', operand.dtype);
    const { partitions, stride, run, starts, elements } = operand;
    const wide = this.reserve(name, elements * 4);
    const round = (count: number, from: number, to: number) => {
      narrow(arena, dtype, count, from, to, this.#nextRounding());
    };
    let store: (address: number) => void;
    if (operand.isContiguous) store = (address) => round(elements, wide.address, address);
    else if ((operand.isAdjacent || run >= CALL_RUN) && this.#rounding === 'nearest') {
      store = (address) => {
        let from = wide.address;
        for (let p = 0; p < partitions; p++) {
          for (const start of starts) {
            round(run, from, address + p * stride + start);
            from += run * 4;
          }
        }
      };
    } else {
      const packed = this.reserve(`${name} packed`, operand.bytes);
      const move = this.mover(null, operand);
      store = (address) => {
        round(elements, wide.address, packed.address);
        move(packed.address, address);
      };
    }
    const close = () => {
      store(operand.address(arena));
      operand.markWritten();
    };
    return { open: () => wide.address, close };
  }

  #nextRounding(): Rounding {
    if (this.#rounding === 'nearest') return 'nearest';
    return { ...this.#rounding, stream: (this.#rounding.stream + this.#results++) % 2 ** 32 };
  }

  /**
   * Prepares to move the elements of one operand to another of the same partitions, length and format; null stands for a
   * buffer without gaps. The function takes the addresses of both. Null if the runs of neither are parts of the other's.
   */
  mover(from: Operand, to: Operand): ((from: number, to: number) => void) | null;
  mover(from: Operand | null, to: Operand | null): (from: number, to: number) => void;
  mover(from: Operand | null, to: Operand | null): ((from: number, to: number) => void) | null {
    const { partitions, length, dtype } = (from ?? to)!;
    const [a, b] = [from?.run ?? length, to?.run ?? length];
    const run = Math.min(a, b);
    if (Math.max(a, b) % run !== 0) return null;
    const { bytes } = DTYPES[dtype];
    const runBytes = run * bytes;
    // f4e2m1 moves in groups of four, which are two bytes.
    const unit = Math.max(bytes, runBytes % 2 === 0 && bytes < 1 ? 2 : 1);
    const [fromStarts, toStarts] = [partStarts(from, length, run, bytes), partStarts(to, length, run, bytes)];
    const [fromStride, toStride] = [from?.stride ?? length * bytes, to?.stride ?? length * bytes];
    if (runBytes >= CALL_BYTES) {
      return (source, target) => {
        const memory = this.bytes;
        for (let p = 0; p < partitions; p++) {
          for (let i = 0; i < fromStarts.length; i++) {
            const start = source + p * fromStride + fromStarts[i]!;
            memory.copyWithin(target + p * toStride + toStarts[i]!, start, start + runBytes);
          }
        }
      };
    }
    const shift = unit === 4 ? 2 : unit === 2 ? 1 : 0;
    const [fromUnits, toUnits] = [fromStarts.map((start) => start >> shift), toStarts.map((start) => start >> shift)];
    const count = runBytes >> shift;
    return (source, target) => {
      this.#refresh();
      const memory = unit === 4 ? this.#words : unit === 2 ? this.#halves : this.#bytes;
      for (let p = 0; p < partitions; p++) {
        const [x, y] = [(source + p * fromStride) >>> shift, (target + p * toStride) >>> shift];
        moveUnits(memory, x, fromUnits, y, toUnits, count);
      }
    };
  }

  /** Growing the memory replaces its buffer and detaches the views of the old one. */
  #refresh(): void {
    const { buffer } = this.arena.memory;
    if (buffer === this.#memory) return;
    this.#memory = buffer;
    this.#bytes = new Uint8Array(buffer);
    this.#halves = new Uint16Array(buffer);
    this.#words = new Int32Array(buffer);
    this.#floats = new Float32Array(buffer);
  }
}

/** `count` elements from each of `xs` to each of `ys`, counted from x and y. */
function moveUnits(
  memory: Int32Array | Uint16Array | Uint8Array,
  x: number,
  xs: Int32Array,
  y: number,
  ys: Int32Array,
  count: number,
): void {
  if (count === 1) {
    for (let i = 0; i < xs.length; i++) memory[y + ys[i]!] = memory[x + xs[i]!]!;
    return;
  }
  for (let i = 0; i < xs.length; i++) {
    const [from, to] = [x + xs[i]!, y + ys[i]!];
    for (let e = 0; e < count; e++) memory[to + e] = memory[from + e]!;
  }
}

/** Byte offsets of the parts of `run` elements that an operand's runs are cut into. */
function partStarts(operand: Operand | null, length: number, run: number, bytes: number): Int32Array {
  const starts = operand?.starts ?? [0];
  const parts = (operand?.run ?? length) / run;
  return Int32Array.from({ length: starts.length * parts }, (_, i) => {
    return starts[Math.floor(i / parts)]! + (i % parts) * run * bytes;
  });
}

/** Whether two operands may overlap. */
export function isSameMemory(a: View, b: View): boolean {
  if (a.kind === 'tile') return b.kind === 'tile' && a.tile === b.tile;
  return b.kind === 'hbm' && a.tensor === b.tensor;
}
