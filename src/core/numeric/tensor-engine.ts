/**
 * TensorE: matmuls into PSUM and transposes.
 *
 * Products are exact in FP32 for operands of up to 12 significant bits, and summed in FP32 in the order of the contraction; a sum that goes
 * on in PSUM over several instructions is the same chain. Packed operands (double row, MX) hold 2 or 4 elements of the
 * contraction in each partition; they are unpacked into planes, plane q of all partitions before plane q + 1, so their
 * order of summation is that. MX elements are multiplied by their scales first, which is exact: both are powers of two times
 * a few bits.
 */
import { DTYPES } from '../../kernels/dtype.ts';
import { matmul } from '../../kernels/matmul.ts';
import type { Tensor } from '../../kernels/tensor.ts';
import type { TileView } from '../access.ts';
import { MX_PARTITIONS, PACKING } from '../constraints.ts';
import type { InstructionOf } from '../instructions.ts';
import type { EngineMemory, Step } from './engine.ts';

/** Working space of the transpose kernels. */
const TRANSPOSE_SCRATCH_BYTES = 512;

export function prepareMatmul(memory: EngineMemory, where: string, instruction: InstructionOf<'nc_matmul'>): Step {
  const { accumulate } = instruction.attributes;
  const [out] = instruction.out as readonly [TileView];
  const [stationary, moving] = prepareFactors(memory, where, instruction);
  const conditions = typeof accumulate === 'boolean' ? [] : accumulate.map((index) => memory.evaluate(index));
  const adds = typeof accumulate === 'boolean' ? () => accumulate : () => conditions.some((value) => value() > 0);
  const { arena } = memory;
  const place = memory.operand(where, out);
  if (place.dtype === 'f32' && place.isAdjacent) {
    return () => {
      const isAdding = adds();
      if (isAdding) place.expectWritten();
      const [a, b] = [stationary(), moving()];
      matmul(a.transpose(), b, place.matrix(arena), { accumulate: isAdding });
      place.markWritten();
    };
  }
  // PSUM in another format: added in FP32 and rounded once an instruction.
  const sum = memory.matrix('sum', out.partitions, out.length);
  const read = memory.reader(where, out, 'sum');
  const write = memory.writer(where, out, 'product', instruction.in);
  return () => {
    const isAdding = adds();
    if (isAdding) sum.set(memory.floats.subarray(read() >> 2, (read() >> 2) + sum.length));
    matmul(stationary().transpose(), moving(), sum, { accumulate: isAdding });
    const to = write.open();
    memory.bytes.copyWithin(to, sum.offset, sum.offset + sum.bytes);
    write.close();
  };
}

/** Functions that give both operands as matrices [contraction, columns]. */
function prepareFactors(
  memory: EngineMemory,
  where: string,
  { in: inputs, attributes: { mode } }: InstructionOf<'nc_matmul'>,
): [stationary: () => Tensor, moving: () => Tensor] {
  const [stationary, moving, ...scales] = inputs as readonly TileView[];
  const prepareFactor = (view: TileView, scale: TileView | undefined, name: string): (() => Tensor) => {
    if (mode !== 'normal') return unpack(memory, where, view, scale, PACKING[mode], name);
    const operand = memory.operand(where, view);
    if (operand.isAdjacent) {
      return () => {
        operand.expectWritten();
        return operand.matrix(memory.arena);
      };
    }
    const wide = memory.matrix(name, view.partitions, view.length);
    const read = memory.reader(where, view, name);
    return () => {
      const from = read();
      memory.bytes.copyWithin(wide.offset, from, from + wide.bytes);
      return wide;
    };
  };
  return [prepareFactor(stationary!, scales[0], 'stationary'), prepareFactor(moving!, scales[1], 'moving')];
}

/** The packed operand [K, columns * packing] as planes [packing * K, columns], times its scales if it has some. */
function unpack(
  memory: EngineMemory,
  where: string,
  view: TileView,
  scales: TileView | undefined,
  packing: number,
  name: string,
): () => Tensor {
  const { partitions } = view;
  const columns = view.length / packing;
  const planes = memory.matrix(name, packing * partitions, columns);
  const read = memory.reader(where, view, name);
  const readScales = scales && memory.reader(where, scales, `${name} scales`);
  return () => {
    const from = read() >> 2;
    const factors = readScales ? readScales() >> 2 : 0;
    const to = planes.offset >> 2;
    const { floats } = memory;
    for (let p = 0; p < partitions; p++) {
      const factor = factors + Math.floor(p / MX_PARTITIONS) * columns;
      for (let q = 0; q < packing; q++) {
        const x = from + p * columns * packing + q;
        const y = to + (q * partitions + p) * columns;
        if (readScales)
          for (let c = 0; c < columns; c++) floats[y + c] = floats[x + c * packing]! * floats[factor + c]!;
        else for (let c = 0; c < columns; c++) floats[y + c] = floats[x + c * packing]!;
      }
    }
    return planes;
  };
}

/** Also DMA's transpose: a matter of bits where both sides have one format, a conversion where not. */
export function prepareTranspose(
  memory: EngineMemory,
  where: string,
  instruction: InstructionOf<'nc_transpose' | 'dma_transpose'>,
): Step {
  const [out, x] = [instruction.out[0]!, instruction.in[0]!];
  const { partitions, length } = x;
  const isRaw = memory.operand(where, out).dtype === memory.operand(where, x).dtype;
  const { bytes } = DTYPES[isRaw ? memory.operand(where, x).dtype : 'f32'];
  const read = isRaw ? memory.rawReader(where, x, 'x') : memory.reader(where, x, 'x');
  const write = isRaw
    ? memory.rawWriter(where, out, 'out', instruction.in)
    : memory.writer(where, out, 'out', instruction.in);
  const { transpose_1, transpose_2, transpose_4 } = memory.arena.kernels;
  const kernel = bytes === 1 ? transpose_1 : bytes === 2 ? transpose_2 : transpose_4;
  const scratch = memory.reserve('transpose', TRANSPOSE_SCRATCH_BYTES);
  return () => {
    kernel(partitions, length, read(), write.open(), scratch.address);
    write.close();
  };
}
