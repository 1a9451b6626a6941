/**
 * Element-wise operators: every tensor is cut into chunks that are contiguous in HBM and spread over all 128 partitions, so
 * that the shape does not matter and each DMA moves rows of 4 KiB and more. Loads, engines and stores overlap through
 * the buffers of each tensor; ScalarE takes the functions, VectorE the sums and products.
 *
 *     add     a + b             gelu, silu   f(x), gelu by its tanh form
 *     swiglu  silu(a) * b       adamw        one update of the weights, from the gradient and both moments
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import { type HbmTensor, HbmView, Index, type TileView } from '../access.ts';
import { type Program, type ProgramBuilder, tileProgram } from '../program.ts';
import { bytesOf, P } from './matrix.ts';

export type ElementwiseName = 'add' | 'gelu' | 'silu' | 'swiglu' | 'adamw';

export interface ElementwiseOptions {
  readonly op: ElementwiseName;
  readonly rows: number;
  readonly cols: number;
  readonly dtype: DType;
}

/** Of AdamW; the bias corrections of a step are part of its rate and epsilon. */
export const ADAMW = { rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.01 } as const;

/** Writes a chunk: `work` are scratch tiles in FP32 of the chunk's shape. */
type Write = (nc: ProgramBuilder, out: TileView, inputs: readonly TileView[], work: readonly TileView[]) => void;

interface Elementwise {
  readonly inputs: readonly string[];
  readonly work: number;
  readonly slots: number;
  /** Bytes of a chunk in each partition. */
  readonly bytes: number;
  readonly write: Write;
}

const OPERATORS: Readonly<Record<ElementwiseName, Elementwise>> = {
  add: {
    inputs: ['a', 'b'],
    work: 0,
    slots: 3,
    bytes: 8192,
    write: (nc, out, [a, b]) => nc.tensorTensor(out, a!, 'add', b!),
  },
  gelu: {
    inputs: ['a'],
    work: 0,
    slots: 3,
    bytes: 8192,
    write: (nc, out, [a]) => nc.activation(out, 'gelu_tanh', a!),
  },
  silu: { inputs: ['a'], work: 0, slots: 3, bytes: 8192, write: (nc, out, [a]) => nc.activation(out, 'silu', a!) },
  swiglu: {
    inputs: ['a', 'b'],
    work: 1,
    slots: 3,
    bytes: 4096,
    write: (nc, out, [a, b], [gate]) => {
      nc.activation(gate!, 'silu', a!);
      nc.tensorTensor(out, gate!, 'multiply', b!);
    },
  },
  adamw: { inputs: ['weight', 'gradient', 'moment1', 'moment2'], work: 3, slots: 2, bytes: 4096, write: writeAdamW },
};

/** weight (1 - rate decay) - rate m / (sqrt(v) + epsilon), with m and v the updated moments. */
function writeAdamW(
  nc: ProgramBuilder,
  out: TileView,
  [weight, gradient, moment1, moment2]: readonly TileView[],
  [m, v, step]: readonly TileView[],
): void {
  const { rate, beta1, beta2, epsilon, decay } = ADAMW;
  nc.activation(step!, 'copy', gradient!, { scale: 1 - beta1 });
  nc.tensorScalar(m!, moment1!, 'multiply', beta1);
  nc.tensorTensor(m!, m!, 'add', step!);
  nc.activation(step!, 'square', gradient!, { scale: Math.sqrt(1 - beta2) });
  nc.tensorScalar(v!, moment2!, 'multiply', beta2);
  nc.tensorTensor(v!, v!, 'add', step!);
  nc.activation(v!, 'sqrt', v!);
  nc.tensorScalar(v!, v!, 'add', epsilon);
  nc.activation(v!, 'reciprocal', v!);
  nc.tensorTensor(m!, m!, 'multiply', v!);
  nc.tensorScalar(m!, m!, 'multiply', -rate);
  nc.tensorScalar(step!, weight!, 'multiply', 1 - rate * decay);
  nc.tensorTensor(out, m!, 'add', step!);
}

/** Inputs `a` and `b` (adamw: `weight`, `gradient`, `moment1`, `moment2`), output `y`, all [rows, cols]. */
export function elementwiseProgram(core: CoreSpec, { op, rows, cols, dtype }: ElementwiseOptions): Program {
  const { inputs: names, work: scratch, slots, bytes, write } = OPERATORS[op];
  return tileProgram(op, core, (nc) => {
    const inputs = names.map((name) => nc.input(name, dtype, [rows, cols]));
    const y = nc.output('y', dtype, [rows, cols]);
    const width = Math.min(Math.floor(bytes / bytesOf(dtype)), Math.ceil((rows * cols) / P));
    const tiles = names.map((name) => nc.sbuf(name, dtype, P, width, { slots }));
    const work = Array.from({ length: scratch }, (_, i) => nc.sbuf(`work ${i}`, 'f32', P, width, { slots: 2 }));
    const out = nc.sbuf('y', dtype, P, width, { slots });
    chunks(nc, rows * cols, width, (start, partitions, length, turn) => {
      const cut = (tile: TileView) => tile.slot(turn).rows(0, partitions).columns(0, length);
      const views = tiles.map(cut);
      inputs.forEach((tensor, i) => {
        nc.dmaCopy(views[i]!, chunk(tensor, start, partitions, length));
      });
      write(nc, cut(out), views, work.map(cut));
      nc.dmaCopy(chunk(y, start, partitions, length), cut(out));
    });
  });
}

/**
 * `elements` in chunks of partitions x width; what remains as one narrower chunk, the last few as one of a column.
 */
export function chunks(
  nc: ProgramBuilder,
  elements: number,
  width: number,
  write: (start: Index, partitions: number, length: number, turn: Index) => void,
  partitions: number = P,
): void {
  const size = partitions * width;
  const whole = Math.floor(elements / size);
  nc.loop(whole, (i) => write(i.times(size), partitions, width, i));
  const rest = elements - whole * size;
  const narrow = Math.floor(rest / partitions);
  if (narrow > 0) write(new Index(whole * size), partitions, narrow, new Index(whole));
  const last = rest - narrow * partitions;
  if (last > 0) write(new Index(elements - last), last, 1, new Index(whole + 1));
}

function chunk(tensor: HbmTensor, start: Index, partitions: number, length: number): HbmView {
  return new HbmView(tensor, start, length, partitions, [[1, length]]);
}
