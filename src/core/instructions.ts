/**
 * The instruction set of a NeuronCore, in the names of the Neuron Kernel Interface (NKI). An instruction is plain data; the
 * numeric executor computes it, the clock executor times it, `constraints.ts` refuses what the hardware can't do.
 *
 * Shapes: [P, F] is partitions x elements of each partition. TensorE contracts over partitions:
 *
 *     nc_matmul      out[M, N] (+)= stationary[K, M]^T moving[K, N]     K <= 128 partitions, M <= 128, N <= 512
 *     nc_transpose   out[F, P] = in[P, F]^T
 *     activation     out = fn(in * scale + bias); optionally reduced[P, 1] = sum over F
 *     tensor_tensor  out = a (alu) b
 *     tensor_scalar  out = (in alu0 operand0) alu1 operand1
 *     tensor_reduce  out[P, 1] = reduction of in over F
 *     select         out = predicate != 0 ? a : b
 *     affine_select  out = base + partition * partitionStep + element * freeStep >= 0 ? in : fill
 *     scan           out[:, i] = (out[:, i - 1] alu0 a[:, i]) alu1 b[:, i], out[:, -1] = initial
 *     bn_stats       out[P, 6]: count, mean, count * variance of the even elements, then of the odd ones
 *     exponential    out = exp(in - max), rowSum[P, 1] = its sum over F (NeuronCore-v4)
 *     quantize_mx    elements and E8M0 scales of 32 elements along K (NeuronCore-v4)
 *
 * see: Neuron SDK, nki/api/nki.isa; nki/guides/architecture.
 */
import type { MxScaleRule } from '../kernels/quantize.ts';
import type { Index, TileView, View } from './access.ts';

export type Engine = 'TensorE' | 'VectorE' | 'ScalarE' | 'GpSimdE' | 'SyncE' | 'DMA';
export const ENGINES: readonly Engine[] = ['TensorE', 'VectorE', 'ScalarE', 'GpSimdE', 'SyncE', 'DMA'];

/** VectorE transposes in blocks of this many partitions and elements. */
export const TRANSPOSE_BLOCK = 32;

export const ALU_OPERATORS = [
  'add',
  'subtract',
  'multiply',
  'divide',
  'max',
  'min',
  'is_gt',
  'is_ge',
  'is_equal',
] as const;
export type AluOperator = (typeof ALU_OPERATORS)[number];

export const ACTIVATION_FUNCTIONS = [
  'copy',
  'exp',
  'gelu',
  'gelu_tanh',
  'log',
  'reciprocal',
  'relu',
  'rsqrt',
  'sigmoid',
  'silu',
  'softplus',
  'sqrt',
  'square',
  'tanh',
] as const;
export type ActivationFunction = (typeof ACTIVATION_FUNCTIONS)[number];

/** `true` adds to what PSUM holds; a list of loop indices overwrites while all of them are 0 and adds after that. */
export type Accumulate = boolean | readonly Index[];

/** Systolic array modes: FP8 pairs of rows (v3, v4), microscaling formats (v4). */
export type MatmulMode = 'normal' | 'double-row' | 'mx';

/** A number, or one per partition: a [P, 1] view. */
export type ScalarOperand = number | TileView;

/** What distinguishes an instruction of each kind, beside its operands `out` and `in`. */
export interface Attributes {
  /** in: stationary, moving; in mode 'mx' also their scales. */
  nc_matmul: { readonly accumulate: Accumulate; readonly mode: MatmulMode; readonly fastWeightLoad: boolean };
  /** in: stationary. The next nc_matmul of the same stationary finds it loaded. */
  load_stationary: { readonly fastWeightLoad: boolean };
  nc_transpose: Record<never, never>;
  /** out: result [, reduced]; in: data [, scale vector] [, bias vector], as `scale` and `bias` name them. */
  activation: { readonly fn: ActivationFunction; readonly scale: ScalarOperand; readonly bias: TileView | null };
  tensor_tensor: { readonly alu: AluOperator };
  tensor_scalar: {
    readonly alu0: AluOperator;
    readonly operand0: ScalarOperand;
    readonly alu1: AluOperator | null;
    readonly operand1: ScalarOperand;
    /** The operand is on the left: operand0 (alu0) in. */
    readonly reverse0: boolean;
  };
  tensor_reduce: { readonly alu: 'add' | 'max' | 'min'; readonly negate: boolean };
  tensor_copy: Record<never, never>;
  /** in: predicate, a [, b]; `fill` stands for b where it is a number. */
  select: { readonly fill: number | null };
  affine_select: {
    readonly base: Index;
    readonly partitionStep: number;
    readonly freeStep: number;
    readonly fill: number;
  };
  /** out = base + partition * partitionStep + element * freeStep. */
  iota: { readonly base: Index; readonly partitionStep: number; readonly freeStep: number };
  scan: { readonly alu0: AluOperator; readonly alu1: AluOperator; readonly initial: ScalarOperand };
  bn_stats: Record<never, never>;
  /** out[P, 2]: mean, variance; in: statistics [P, 6 * n]. */
  bn_aggr: Record<never, never>;
  reciprocal: Record<never, never>;
  /** out: result [, rowSum]; in: data, max [P, 1]. */
  exponential: Record<never, never>;
  /** out: elements, scales. */
  quantize_mx: { readonly rule: MxScaleRule };
  memset: { readonly value: number };
  /** `accumulate` adds to the destination (DMA compute). */
  dma_copy: { readonly queue: string; readonly accumulate: boolean };
  /** [P, F] of the source to [F, P] of the destination. */
  dma_transpose: { readonly queue: string };
}

export type Opcode = keyof Attributes;

interface Operands {
  /** Number in the program's text; the same in each iteration of a loop. */
  readonly id: number;
  readonly engine: Engine;
  readonly out: readonly View[];
  readonly in: readonly View[];
}

/** One of several kinds for a union of opcodes. */
export type InstructionOf<K extends Opcode> = {
  [O in K]: Operands & { readonly op: O; readonly attributes: Attributes[O] };
}[K];
export type Instruction = InstructionOf<Opcode>;
