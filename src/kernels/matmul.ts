/**
 * out[..., m, n] = activation(alpha a[..., m, k] b[..., k, n] + beta out + bias): operands in any format, FP32
 * accumulation (PSUM), one rounding at the end. A transposed operand is a transposed view: nothing is copied but the
 * blocks that the kernels pack.
 *
 * Four ways, by shape: one row against panels (gemv), both operands in place (small), one block of rows with B packed on
 * the way, or Goto's blocks:
 *
 *     for jc in N, for pc in K      pack B[pc, jc], unless it is packed for good
 *       for ic in M                   pack A[ic, pc]; multiply the panels
 *
 * Every element is one chain of sums in the order of k (a few interleaved chains in gemv and under turbo), so the result
 * depends on neither blocking nor threads.
 */
import { expectOneOf } from '../base/errors.ts';
import { ACTIVATION_SCRATCH_BYTES } from './activation.ts';
import type { Arena } from './arena.ts';
import {
  columnChunks,
  isInPlace,
  MC,
  NC,
  paddedColumns,
  panelWidth,
  rowBlocks,
  THREAD_SCRATCH,
  termsOfBlocks,
} from './blocking.ts';
import { type Rounding, storeRounded } from './cast.ts';
import { DTYPES } from './dtype.ts';
import { expectApart } from './layer-operands.ts';
import { expectOperandDType, OPERAND_DTYPES, type OperandDType } from './operands.ts';
import { PackedWeights } from './packed.ts';
import type { Call, Task } from './pool.ts';
import { expectMatrix, expectShape, type Tensor } from './tensor.ts';

export interface MatmulOptions {
  /** Factor on the product; 1 by default. */
  readonly alpha?: number;
  /** Factor on what `out` held; 0 by default. Otherwise `out` must be f32: it is the accumulator. */
  readonly beta?: number;
  /** The same as `beta: 1`. */
  readonly accumulate?: boolean;
  /** [n] f32 or bf16, added to every row. */
  readonly bias?: Tensor;
  /** Applied to the sum, bias included, before it is rounded. */
  readonly activation?: Activation;
  /** How an `out` that is not f32 is rounded. */
  readonly rounding?: Rounding;
}

/** gelu: the erf form; gelu-tanh: its approximation. */
export type Activation = 'silu' | 'gelu' | 'gelu-tanh';
const ACTIVATIONS = { silu: 'silu_f32', gelu: 'gelu_f32', 'gelu-tanh': 'geluTanh_f32' } as const;

/**
 * `a`: [m, k], `b`: [k, n] or packed weights, any strides, any operand formats. `out`: [m, n], f32 (rows may have a
 * stride) or contiguous; in f32 it may not lie over an operand. With a batch, `a`: [batch, m, k], `b`: [batch, k, n], `out`: [batch, m, n].
 * @throws TypeError or RangeError that names the operand.
 */
export function matmul(a: Tensor, b: Tensor | PackedWeights, out: Tensor, options: MatmulOptions = {}): void {
  const isBatch = a.shape.length === 3 && !(b instanceof PackedWeights);
  const batch = isBatch ? a.shape[0]! : 1;
  if (isBatch) {
    expectShape('b', b, [batch, a.shape[2]!, b.shape[2]!]);
    expectShape('out', out, [batch, a.shape[1]!, b.shape[2]!]);
    if (batch === 0) return;
  }
  const [firstA, firstB, firstOut] = isBatch ? [a.at(0), b.at(0), out.at(0)] : [a, b, out];
  const { alpha, beta, bias, activation, rounding } = checkOperands(firstA, firstB, firstOut, options);
  if (out.dtype !== 'f32' && !out.isContiguous) throw new TypeError(`"out" expected a contiguous ${out.dtype} tensor`);
  const [m, n] = firstOut.shape as [number, number];
  if (m === 0 || n === 0) return;
  const { arena } = out;
  const stride = out.dtype === 'f32' ? firstOut.strides[0]! : n;
  const itemBytes = (out.dtype === 'f32' && isBatch ? out.strides[0]! : m * n) * 4;
  storeRounded(out, rounding, (c) => {
    for (let i = 0; i < batch; i++) {
      const target: Target = { c: c + i * itemBytes, stride, accumulate: beta !== 0, alpha };
      const left = isBatch ? itemOf(a, firstA, i) : a;
      if (beta !== 0 && beta !== 1) eachRow(m, target, (row) => arena.kernels.scale_f32(n, beta, row));
      if (firstA.shape[1] === 0) clear(arena, m, n, target);
      else if (b instanceof PackedWeights) multiplyPacked(left, b, target);
      else multiplyTensors(left, isBatch ? itemOf(b, firstB as Tensor, i) : b, target);
      if (bias !== undefined) {
        const kernel = bias.dtype === 'f32' ? arena.kernels.addBias_f32 : arena.kernels.addBias_bf16;
        eachRow(m, target, (row) => kernel(1, n, bias.offset, row));
      }
      if (activation !== undefined) {
        const kernel = arena.kernels[ACTIVATIONS[activation]];
        const scratch = arena.scratch('activation', ACTIVATION_SCRATCH_BYTES);
        eachRow(m, target, (row) => kernel(n, row, row, scratch));
      }
    }
  });
}

/** A matrix as the loops below see it: of a tensor, or of an item of a batch, which needs no tensor of its own. */
type Matrix = Pick<Tensor, 'arena' | 'dtype' | 'shape' | 'strides' | 'offset'>;

/** Item `index` of a batch whose item 0 is `first`. */
function itemOf(batch: Tensor, first: Tensor, index: number): Matrix {
  const { arena, dtype, shape, strides } = first;
  return { arena, dtype, shape, strides, offset: first.offset + index * batch.strides[0]! * DTYPES[dtype].bytes };
}

function checkOperands(a: Tensor, b: Tensor | PackedWeights, out: Tensor, options: MatmulOptions) {
  const [m, k] = expectMatrix('a', a);
  const [bRows, n] = b instanceof PackedWeights ? b.shape : expectMatrix('b', b);
  const [rows, cols] = expectMatrix('out', out);
  if (bRows !== k) throw new RangeError(`"b" expected ${k} rows as "a" has columns, got shape [${b.shape}]`);
  if (rows !== m || cols !== n) throw new RangeError(`"out" expected shape [${m},${n}], got [${out.shape}]`);
  if (b.arena !== a.arena) throw new TypeError('"b" expected the arena of "a", got another one');
  if (out.arena !== a.arena) throw new TypeError('"out" expected the arena of "a", got another one');
  expectOperandDType('a', a);
  if (!(b instanceof PackedWeights)) expectOperandDType('b', b);
  // A result in FP32 is written as it is summed; others are rounded from a copy, and may lie over an operand.
  if (out.dtype === 'f32' && m * n * k > 0) {
    expectApart('a', a, out);
    if (!(b instanceof PackedWeights)) expectApart('b', b, out);
  }
  if (out.strides[1] !== 1 && n > 1) throw new TypeError('"out" expected adjacent columns, got a transposed view');
  const { alpha = 1, accumulate = false, beta = accumulate ? 1 : 0, bias, activation, rounding = 'nearest' } = options;
  if (activation !== undefined) expectOneOf('activation', activation, Object.keys(ACTIVATIONS) as Activation[]);
  expectFinite('alpha', alpha);
  expectFinite('beta', beta);
  if (beta !== 0 && out.dtype !== 'f32') throw new TypeError(`"out" expected f32 to accumulate into, got ${out.dtype}`);
  if (bias !== undefined) {
    expectShape('bias', bias, [n]);
    if (bias.arena !== a.arena) throw new TypeError('"bias" expected the arena of "a", got another one');
    if (bias.dtype !== 'f32' && bias.dtype !== 'bf16') {
      throw new TypeError(`"bias" expected dtype f32 or bf16, got ${bias.dtype}`);
    }
  }
  return { alpha, beta, bias, activation, rounding };
}

function expectFinite(name: string, value: number): void {
  if (!Number.isFinite(value)) throw new RangeError(`"${name}" expected a finite number, got ${value}`);
}

/** Where the FP32 result goes, and the factor on it. `stride` in elements. */
interface Target {
  readonly c: number;
  readonly stride: number;
  readonly accumulate: boolean;
  readonly alpha: number;
}

function eachRow(m: number, { c, stride }: Target, visit: (row: number) => void): void {
  for (let i = 0; i < m; i++) visit(c + i * stride * 4);
}

function clear({ memory }: Arena, m: number, n: number, target: Target): void {
  if (!target.accumulate) eachRow(m, target, (row) => new Float32Array(memory.buffer, row, n).fill(0));
}

function multiplyTensors(a: Matrix, b: Matrix, target: Target): void {
  const [m, k] = a.shape as [number, number];
  const n = b.shape[1]!;
  if (a.dtype === 'f32' && b.dtype === 'f32' && target.alpha === 1) {
    const isSmall = b.strides[1] === 1 && isInPlace(a.arena, m, n, k);
    if (isSmall || (m > 1 && m <= MC)) {
      const multiply = isSmall ? multiplyInPlace : multiplyOneBlock;
      multiply(a, b, target);
      return;
    }
  }
  const panelDtype = isPackedWide(b.dtype) ? 'f32' : (b.dtype as OperandDType);
  const terms = termsOfBlocks(a.arena, k);
  multiplyBlocks(a, n, panelDtype, terms, target, (...block) => packBlock(b, ...block));
}

/** Formats that are widened as they are packed; the others are packed as they are and widened panel by panel. */
function isPackedWide(dtype: string): dtype is 'f32' | 'bf16' {
  return dtype === 'f32' || dtype === 'bf16';
}

function multiplyPacked(a: Matrix, b: PackedWeights, target: Target): void {
  multiplyBlocks(a, b.shape[1], b.dtype, b.terms, target, (pc, _, jc) => ({
    at: b.block(pc, jc),
    rows: b.panelRows(pc),
  }));
}

function multiplyInPlace(a: Matrix, b: Matrix, { c, stride, accumulate }: Target): void {
  const [m, k] = a.shape as [number, number];
  const [aRow, aCol] = a.strides as [number, number];
  const [n, bRow] = [b.shape[1]!, b.strides[0]!];
  const args = [m, n, k, a.offset, aRow, aCol, b.offset, bRow, c, stride, accumulate ? 1 : 0, PANEL];
  a.arena.runTasks([[{ kernel: 'multiplyInPlace_f32', args }]]);
}

/** One block of rows: B need not be packed before, since each panel is used once. */
function multiplyOneBlock(a: Matrix, b: Matrix, { c, stride, accumulate }: Target): void {
  const { arena } = a;
  const [m, k] = a.shape as [number, number];
  const [aRow, aCol] = a.strides as [number, number];
  const [bRow, bCol] = b.strides as [number, number];
  const [width, terms] = [panelWidth(arena), termsOfBlocks(arena, k)];
  const chunks = columnChunks(arena, b.shape[1]!);
  for (let pc = 0; pc < k; pc += terms) {
    const kc = Math.min(terms, k - pc);
    const adds = pc > 0 || accumulate ? 1 : 0;
    const left = a.offset + pc * aCol * 4;
    const tasks = chunks.map(([first, count]): Task => {
      const [right, to] = [b.offset + (pc * bRow + first * bCol) * 4, c + first * 4];
      const matrices = [left, aRow, aCol, right, bRow, bCol, to, stride];
      const args = [width, m, count, kc, ...matrices, adds, PACKED_A, PACKED_B, PANEL];
      return [{ kernel: 'multiplyPacking_f32', args }];
    });
    arena.runTasks(tasks);
  }
}

/** Where things lie in a thread's scratch, as arguments of a call. */
const PACKED_A = -1 - THREAD_SCRATCH.packedA;
const WIDE_A = -1 - THREAD_SCRATCH.wideA;
/** Where nothing is widened, the room for that holds some columns of B. */
const PACKED_B = WIDE_A;
const PANEL = -1 - THREAD_SCRATCH.panel;

/** A block of B as panels: where it lies, and how many rows a panel has, which may be more than are used. */
interface PanelBlock {
  readonly at: number;
  readonly rows: number;
}

/** Packs a block of B as panels. */
function packBlock(b: Matrix, pc: number, kc: number, jc: number, nc: number): PanelBlock {
  const { arena, dtype } = b;
  const { bytes } = DTYPES[dtype];
  const width = panelWidth(arena);
  const [rowStride, colStride] = b.strides as [number, number];
  const out = arena.scratch('packed B', kc * paddedColumns(nc, width) * 4);
  const isWide = isPackedWide(dtype);
  const tasks = columnChunks(arena, nc).map(([first, count]): Task => {
    const from = b.offset + (pc * rowStride + (jc + first) * colStride) * bytes;
    const to = out + first * kc * (isWide ? 4 : bytes);
    return isWide
      ? [{ kernel: `packColumns_${dtype}`, args: [kc, count, from, rowStride, colStride, to, width] }]
      : [{ kernel: 'packPanels', args: [bytes, width, kc, count, from, rowStride, colStride, to] }];
  });
  arena.runTasks(tasks);
  return { at: out, rows: kc };
}

/**
 * Calls that pack a block of A as FP32 row panels in the thread's scratch, times the FP32 at `factor`. (Arguments below 0 are
 * places in that scratch, so a factor is not an argument.)
 */
function packRows(a: Matrix, ic: number, mc: number, pc: number, kc: number, factor: number | undefined): Call[] {
  const dtype = a.dtype as OperandDType;
  const { bytes } = DTYPES[dtype];
  const [rowStride, colStride] = a.strides as [number, number];
  const from = a.offset + (ic * rowStride + pc * colStride) * bytes;
  const scaled: Call[] =
    factor === undefined ? [] : [{ kernel: 'scaleRows_f32', args: [1, mc * kc, factor, PACKED_A] }];
  if (isPackedWide(dtype)) {
    return [{ kernel: `packRows_${dtype}`, args: [mc, kc, from, rowStride, colStride, PACKED_A] }, ...scaled];
  }
  const format = OPERAND_DTYPES.indexOf(dtype);
  if (colStride === 1) {
    const widen: Call = { kernel: 'widenRows', args: [format, mc, kc, from, rowStride * bytes, WIDE_A] };
    return [widen, { kernel: 'packRows_f32', args: [mc, kc, WIDE_A, kc, 1, PACKED_A] }, ...scaled];
  }
  // A column of the block at a time: as a row if its elements are adjacent, as rows of one element if not.
  const columns = Array.from({ length: kc }, (_, p): Call => {
    const [column, to] = [from + p * colStride * bytes, WIDE_A - p * mc * 4];
    const run = rowStride === 1 ? [1, mc, column, 0, to] : [mc, 1, column, rowStride * bytes, to];
    return { kernel: 'widenRows', args: [format, ...run] };
  });
  return [...columns, { kernel: 'packRows_f32', args: [mc, kc, WIDE_A, 1, mc, PACKED_A] }, ...scaled];
}

/** Goto's loops over blocks of B that `blockOfB` provides as panels in `panelDtype`. */
function multiplyBlocks(
  a: Matrix,
  n: number,
  panelDtype: OperandDType,
  terms: number,
  { c, stride, accumulate, alpha }: Target,
  blockOfB: (pc: number, kc: number, jc: number, nc: number) => PanelBlock,
): void {
  const { arena } = a;
  const [m, k] = a.shape as [number, number];
  const width = panelWidth(arena);
  const blocks = rowBlocks(arena, m);
  const panelElementBytes = DTYPES[panelDtype].bytes;
  const format = OPERAND_DTYPES.indexOf(panelDtype);
  const isRow = m === 1 && hasGemv(panelDtype);
  // gemv widens a byte to its value times 2^24.
  const factor = placeFactor(arena, isRow && panelDtype === 'i8' ? alpha * 2 ** -24 : alpha);
  for (let jc = 0; jc < n; jc += NC) {
    const nc = Math.min(NC, n - jc);
    const chunks = columnChunks(arena, nc);
    for (let pc = 0; pc < k; pc += terms) {
      const kc = Math.min(terms, k - pc);
      const panels = blockOfB(pc, kc, jc, nc);
      const panelBytes = panels.rows * width * panelElementBytes;
      const adds = pc > 0 || accumulate ? 1 : 0;
      const tasks: Task[] = [];
      for (const [ic, mc] of blocks) {
        const pack = packRows(a, ic, mc, pc, kc, factor);
        for (const [first, count] of chunks) {
          const from = panels.at + first * panels.rows * panelElementBytes;
          const to = c + (ic * stride + jc + first) * 4;
          const multiply: Call = isRow
            ? { kernel: `gemv_${panelDtype}`, args: [width, count, kc, PACKED_A, from, panelBytes, to, adds, PANEL] }
            : {
                kernel: 'multiplyPanels',
                args: [format, width, mc, count, kc, PACKED_A, from, panelBytes, to, stride, adds, PANEL],
              };
          tasks.push([...pack, multiply]);
        }
      }
      arena.runTasks(tasks);
    }
  }
}

/** Where the factor lies for the kernels; nowhere if it is 1. */
function placeFactor(arena: Arena, factor: number): number | undefined {
  if (factor === 1) return undefined;
  const at = arena.scratch('factor', 4);
  new Float32Array(arena.memory.buffer, at, 1)[0] = factor;
  return at;
}

function hasGemv(dtype: OperandDType): dtype is 'f32' | 'bf16' | 'i8' {
  return dtype === 'f32' || dtype === 'bf16' || dtype === 'i8';
}
