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
import type { Tensor } from '../../kernels/tensor.ts';
import type { Index, View } from '../access.ts';
import { type Counters, evaluator, Operand, type Store } from './memory.ts';

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
    return () => {
      operand.expectWritten();
      this.#move(operand, operand.address(arena), packed.address, true);
      return packed.address;
    };
  }

  /** Reads `view` as FP32. */
  reader(where: string, view: View, name: string): Reader {
    const operand = this.operand(where, view);
    const { dtype, partitions, length, stride, elements } = operand;
    if (dtype === 'f32') return this.rawReader(where, view, name);
    const { arena } = this;
    const wide = this.reserve(name, elements * 4);
    if (!operand.isContiguous && operand.table === null) {
      const kernel = arena.kernels[`widen_${dtype}`];
      return () => {
        operand.expectWritten();
        const from = operand.address(arena);
        for (let p = 0; p < partitions; p++) kernel(length, from + p * stride, wide.address + p * length * 4);
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
    const close = () => {
      this.#move(operand, operand.address(arena), packed.address, false);
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
    const { partitions, length, stride, elements } = operand;
    const wide = this.reserve(name, elements * 4);
    const round = (count: number, from: number, to: number) => {
      narrow(arena, dtype, count, from, to, this.#nextRounding());
    };
    let store: (address: number) => void;
    if (operand.isContiguous) store = (address) => round(elements, wide.address, address);
    else if (operand.table === null && this.#rounding === 'nearest') {
      store = (address) => {
        for (let p = 0; p < partitions; p++) round(length, wide.address + p * length * 4, address + p * stride);
      };
    } else {
      const packed = this.reserve(`${name} packed`, operand.bytes);
      store = (address) => {
        round(elements, wide.address, packed.address);
        this.#move(operand, address, packed.address, false);
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

  /** Moves elements between the place of an operand and a buffer without gaps. */
  #move({ partitions, stride, table, unit, bytes }: Operand, place: number, packed: number, isRead: boolean): void {
    this.#refresh();
    const rowBytes = bytes / partitions;
    if (table === null) {
      for (let p = 0; p < partitions; p++) {
        const [from, to] = isRead ? [place, packed] : [packed, place];
        this.#bytes.copyWithin(to, from, from + rowBytes);
        place += stride;
        packed += rowBytes;
      }
      return;
    }
    const memory = unit === 4 ? this.#words : unit === 2 ? this.#halves : this.#bytes;
    for (let p = 0; p < partitions; p++) {
      const first = (place + p * stride) / unit;
      let at = (packed + p * rowBytes) / unit;
      if (isRead) for (const offset of table) memory[at++] = memory[first + offset]!;
      else for (const offset of table) memory[first + offset] = memory[at++]!;
    }
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

function isSameMemory(a: View, b: View): boolean {
  if (a.kind === 'tile') return b.kind === 'tile' && a.tile === b.tile;
  return b.kind === 'hbm' && a.tensor === b.tensor;
}
