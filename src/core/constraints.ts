/**
 * What the engines refuse, checked when an instruction is written: shapes, number formats, buffers, core versions. Errors name the
 * instruction and the limit. What memory refuses: `constraints-memory.ts`.
 *
 * see: Neuron SDK, nki/api/nki.isa and nki/guides/architecture: tile limits, PSUM banks of 512 FP32 elements; FP8 from NeuronCore-v3 on where it is `float8_e4m3`, MX from v4 on.
 */
import type { CoreSpec } from '../hardware/spec.ts';
import { DTYPES, type DType } from '../kernels/dtype.ts';
import { MX_SCALE_RULES } from '../kernels/quantize.ts';
import type { HbmView, TileView, View } from './access.ts';
import { checkOutput, checkView, expectDtype, FP8, refuse } from './constraints-memory.ts';
import {
  ACTIVATION_FUNCTIONS,
  ALU_OPERATORS,
  type Instruction,
  type InstructionOf,
  type MatmulMode,
  type Opcode,
  type ScalarOperand,
  TRANSPOSE_BLOCK,
} from './instructions.ts';

/** Columns of the systolic array: each holds one stationary column. */
const MAX_STATIONARY = 128;
/** FP32 results of a partition that fit into one PSUM bank of 2 KiB, which a matmul writes into. */
const MAX_MOVING = 512;
/** Elements that VectorE takes the statistics of at once (`nki.isa.bn_stats`); longer rows are put together by bn_aggr. */
const MAX_BN_STATS = 512;

/** Elements of the contraction that one partition holds, innermost in its free dimension. */
export const PACKING: Readonly<Record<MatmulMode, number>> = { normal: 1, 'double-row': 2, mx: 4 };
/** Partitions that share a scale of an MX operand: 8 x 4 packed elements are a block of 32. */
export const MX_PARTITIONS = 8;

/** Of the elements of an MX operand. FP8 in its OCP forms: the 240 form of E4M3 has no MX scale. */
const MX_FORMATS: readonly DType[] = ['f8e4m3fn', 'f8e5m2', 'f4e2m1'];

/** @throws ModelError (PROGRAM) for an instruction that the core doesn't have, or not with these operands */
export function checkInstruction(core: CoreSpec, where: string, instruction: Instruction): void {
  for (const view of [...instruction.out, ...instruction.in]) checkView(core, where, view);
  for (const view of instruction.out) checkOutput(where, view);
  checkAttributes(where, instruction);
  if (instruction.op === 'dma_copy' || instruction.op === 'dma_transpose') {
    checkDma(core, where, instruction);
    return;
  }
  const views = [...instruction.out, ...instruction.in];
  const tiles = views.filter((view): view is TileView => view.kind === 'tile');
  if (tiles.length !== views.length) refuse(where, 'operands in SBUF or PSUM; only DMA reaches HBM', 'one in HBM');
  if (instruction.engine === 'GpSimdE') {
    const inPsum = tiles.find(({ tile }) => tile.buffer === 'psum');
    if (inPsum) refuse(where, 'operands in SBUF, as GpSimdE cannot access PSUM', inPsum.tile.name);
  }
  if (!PACKED_OPCODES.includes(instruction.op)) {
    const packed = tiles.find(({ dtype }) => PACKED.includes(dtype));
    if (packed) refuse(where, 'formats that engines compute with', `${packed.dtype} in ${packed.tile.name}`);
  }
  const outs = instruction.out as readonly TileView[];
  const ins = instruction.in as readonly TileView[];
  switch (instruction.op) {
    case 'nc_matmul':
      checkMatmul(core, where, instruction);
      return;
    case 'load_stationary':
      if (ins[0]!.tile.buffer !== 'sbuf') refuse(where, 'operands in SBUF', `PSUM tile ${ins[0]!.tile.name}`);
      if (ins[0]!.length > MAX_STATIONARY * PACKING.mx)
        refuse(where, `at most ${MAX_STATIONARY} stationary columns`, ins[0]!.length);
      return;
    case 'nc_transpose':
      checkTranspose(core, where, instruction.engine, outs[0]!, ins[0]!);
      return;
    case 'activation': {
      sameShape(where, outs[0]!, ins[0]!);
      const { scale, bias } = instruction.attributes;
      scalar(where, 'scale', scale, ins[0]!);
      if (bias !== null) scalar(where, 'bias', bias, ins[0]!);
      if (outs[1]) column(where, 'reduced', outs[1], ins[0]!);
      return;
    }
    case 'tensor_copy':
      sameShape(where, outs[0]!, ins[0]!);
      checkConversion(where, outs[0]!, ins[0]!);
      return;
    case 'tensor_tensor':
      for (const x of ins) sameShape(where, outs[0]!, x);
      return;
    case 'tensor_scalar':
      sameShape(where, outs[0]!, ins[0]!);
      scalar(where, 'operand0', instruction.attributes.operand0, ins[0]!);
      scalar(where, 'operand1', instruction.attributes.operand1, ins[0]!);
      return;
    case 'tensor_reduce':
      column(where, 'out', outs[0]!, ins[0]!);
      return;
    case 'select':
    case 'affine_select':
      for (const x of ins) sameShape(where, outs[0]!, x);
      return;
    case 'scan':
      for (const x of ins.slice(0, 2)) sameShape(where, outs[0]!, x);
      scalar(where, 'initial', instruction.attributes.initial, ins[0]!);
      return;
    case 'bn_stats':
      if (ins[0]!.length > MAX_BN_STATS) refuse(where, `at most ${MAX_BN_STATS} elements`, ins[0]!.length);
      rows(where, outs[0]!, ins[0]!, 6);
      return;
    case 'bn_aggr':
      if (ins[0]!.length % 6 !== 0) refuse(where, 'statistics of 6 elements each', ins[0]!.length);
      rows(where, outs[0]!, ins[0]!, 2);
      return;
    case 'exponential':
      if (core.exponentialSpeedup === null) refuse(where, 'NeuronCore-v4 for exponential', core.id);
      sameShape(where, outs[0]!, ins[0]!);
      column(where, 'max', ins[1]!, ins[0]!);
      if (outs[1]) column(where, 'rowSum', outs[1], ins[0]!);
      return;
    case 'quantize_mx':
      checkQuantize(core, where, outs, ins[0]!);
      return;
    case 'reciprocal':
      sameShape(where, outs[0]!, ins[0]!);
      return;
    case 'iota':
    case 'memset':
      return;
  }
}

/** Formats of MX operands: engines move them, and TensorE multiplies them. */
const PACKED: readonly DType[] = ['f4e2m1', 'e8m0'];
const PACKED_OPCODES: readonly Opcode[] = ['nc_matmul', 'load_stationary', 'tensor_copy', 'quantize_mx'];
function checkAttributes(where: string, { attributes }: Instruction): void {
  const known = (name: string, value: string | null, choices: readonly string[]) => {
    if (value !== null && !choices.includes(value)) refuse(where, `${name} to be one of ${choices.join(', ')}`, value);
  };
  if ('fn' in attributes) known('fn', attributes.fn, ACTIVATION_FUNCTIONS);
  if ('alu' in attributes) known('alu', attributes.alu, ALU_OPERATORS);
  if ('alu0' in attributes) {
    known('alu0', attributes.alu0, ALU_OPERATORS);
    known('alu1', attributes.alu1, ALU_OPERATORS);
  }
  if ('mode' in attributes) known('mode', attributes.mode, Object.keys(PACKING));
  if ('rule' in attributes) known('rule', attributes.rule, MX_SCALE_RULES);
  if ('freeStep' in attributes) {
    for (const step of [attributes.freeStep, attributes.partitionStep]) {
      if (!Number.isSafeInteger(step)) refuse(where, 'integer steps', step);
    }
  }
  const value = 'value' in attributes ? attributes.value : 'fill' in attributes ? (attributes.fill ?? 0) : 0;
  if (typeof value !== 'number') refuse(where, 'a number to fill with', value);
}

/** A result of a matmul lies in one bank, in every iteration. */
function checkBank(core: CoreSpec, where: string, out: TileView): void {
  const bank = core.psum! / core.partitions / core.psumBanks / DTYPES[out.dtype].bytes;
  const { constant, terms } = out.offset;
  const moved = terms.filter(({ factor }) => factor % bank !== 0);
  const reach = out.pattern.reduce((sum, [step, count]) => sum + step * (count - 1), 0);
  const last = moved.reduce((sum, { loop, factor }) => sum + factor * (loop.count - 1), (constant % bank) + reach);
  if (last >= bank) refuse(where, `a result within one PSUM bank of ${bank} elements`, `elements up to ${last}`);
}

/**
 * Stationary [K, M] x moving [K, N] -> PSUM [M, N]: K lies on the partitions of both, M becomes the result's partitions. With
 * packing, a partition holds several elements of K, so that the lengths are multiples of it.
 */
function checkMatmul(core: CoreSpec, where: string, instruction: InstructionOf<'nc_matmul'>): void {
  const { mode } = instruction.attributes;
  const [out] = instruction.out as readonly [TileView];
  const [stationary, moving, ...scales] = instruction.in as readonly [TileView, TileView, ...TileView[]];
  const packing = PACKING[mode];
  const [m, n] = [stationary.length / packing, moving.length / packing];
  if (out.tile.buffer !== 'psum') refuse(where, 'a result in PSUM', `SBUF tile ${out.tile.name}`);
  for (const x of [stationary, moving]) {
    if (x.tile.buffer !== 'sbuf') refuse(where, 'operands in SBUF', `PSUM tile ${x.tile.name}`);
  }
  if (stationary.partitions !== moving.partitions) {
    refuse(where, `moving with the ${stationary.partitions} partitions of stationary`, moving.partitions);
  }
  if (!(Number.isInteger(m) && m <= MAX_STATIONARY)) refuse(where, `at most ${MAX_STATIONARY} stationary columns`, m);
  if (!(Number.isInteger(n) && n <= MAX_MOVING)) refuse(where, `at most ${MAX_MOVING} moving columns`, n);
  if (out.partitions !== m || out.length !== n) {
    refuse(where, `a result of ${m} partitions x ${n}`, `${out.partitions} x ${out.length}`);
  }
  checkBank(core, where, out);
  if (instruction.attributes.accumulate !== false && out.dtype !== 'f32' && core.version < 4) {
    refuse(where, 'accumulation in FP32 before NeuronCore-v4', out.dtype);
  }
  const dtypes = [stationary.dtype, moving.dtype];
  if (mode === 'mx') {
    if (core.tensor!.mxRows === null) refuse(where, 'NeuronCore-v4 for MX formats', core.id);
    for (const dtype of dtypes) expectDtype(where, 'MX operands', dtype, MX_FORMATS);
    if (scales.length !== 2) refuse(where, 'the scales of both operands', scales.length);
    scales.forEach((scale, i) => {
      const columns = i === 0 ? m : n;
      if (scale.dtype !== 'e8m0' || scale.partitions !== Math.ceil(stationary.partitions / MX_PARTITIONS)) {
        refuse(
          where,
          `E8M0 scales on ${Math.ceil(stationary.partitions / MX_PARTITIONS)} partitions`,
          scale.partitions,
        );
      }
      if (scale.length !== columns) refuse(where, `${columns} scales per partition`, scale.length);
    });
    return;
  }
  if (mode === 'double-row') {
    if (core.tensor!.fp8Rows === null) refuse(where, 'NeuronCore-v3 or later for double row', core.id);
    for (const dtype of dtypes) expectDtype(where, 'double-row operands', dtype, ['f8e4m3', 'f8e4m3fn', 'f8e5m2']);
  }
  for (const dtype of dtypes) expectDtype(where, 'operands', dtype, ['f32', 'bf16', 'f16', ...FP8]);
  if (new Set(dtypes.filter((dtype) => dtype.startsWith('f8e4'))).size > 1) {
    refuse(where, 'FP8 E4M3 of one kind, as the 240 and the 448 form do not mix', dtypes.join(' and '));
  }
  if (dtypes.includes('f32') && dtypes.some((dtype) => dtype !== 'f32')) {
    refuse(where, 'both operands in FP32, or neither', dtypes.join(' and '));
  }
}

/** TensorE passes the tile through its array into PSUM, up to 128 wide; VectorE does one of its blocks, wherever it lies. */
function checkTranspose(core: CoreSpec, where: string, engine: string, out: TileView, x: TileView): void {
  if (out.partitions !== x.length || out.length !== x.partitions) {
    refuse(where, `a result of ${x.length} partitions x ${x.partitions}`, `${out.partitions} x ${out.length}`);
  }
  if (engine === 'TensorE') {
    if (out.tile.buffer !== 'psum') refuse(where, 'a result in PSUM', `SBUF tile ${out.tile.name}`);
    if (x.length > MAX_STATIONARY) refuse(where, `at most ${MAX_STATIONARY} elements per partition`, x.length);
    // PSUM holds nothing of 8 bits: those are multiplied by the identity, as everything is on v2.
    const isExact = core.version >= 3 && DTYPES[x.dtype].bytes > 1;
    if (isExact && DTYPES[out.dtype].bytes !== DTYPES[x.dtype].bytes) {
      refuse(where, `a result as wide as the ${x.dtype} input`, out.dtype);
    }
    return;
  }
  if (x.length > TRANSPOSE_BLOCK || x.partitions > TRANSPOSE_BLOCK) {
    refuse(where, `at most ${TRANSPOSE_BLOCK} x ${TRANSPOSE_BLOCK} on VectorE`, `${x.partitions} x ${x.length}`);
  }
}

function checkQuantize(core: CoreSpec, where: string, [out, scales]: readonly TileView[], x: TileView): void {
  if (core.tensor!.mxRows === null) refuse(where, 'NeuronCore-v4 for quantize_mx', core.id);
  expectDtype(where, 'input', x.dtype, ['bf16', 'f16']);
  expectDtype(where, 'elements', out!.dtype, ['f8e4m3fn', 'f8e5m2']);
  expectDtype(where, 'scales', scales!.dtype, ['e8m0']);
  if (x.length % 4 !== 0 || x.partitions % MX_PARTITIONS !== 0) {
    refuse(where, 'blocks of 8 partitions x 4 elements', `${x.partitions} x ${x.length}`);
  }
  sameShape(where, out!, x);
  if (scales!.partitions !== x.partitions / MX_PARTITIONS || scales!.length !== x.length / 4) {
    refuse(
      where,
      `scales of ${x.partitions / MX_PARTITIONS} x ${x.length / 4}`,
      `${scales!.partitions} x ${scales!.length}`,
    );
  }
}

/** A copy reshapes and converts as it likes, as long as no element is lost; a transpose keeps the format, of 2 or 4 bytes. */
function checkDma(core: CoreSpec, where: string, instruction: InstructionOf<'dma_copy' | 'dma_transpose'>): void {
  const [out, x] = [instruction.out[0]!, instruction.in[0]!];
  if (instruction.op === 'dma_copy') {
    if (out.partitions * out.length !== x.partitions * x.length) {
      refuse(where, `${x.partitions} x ${x.length} elements on both sides`, `${out.partitions} x ${out.length}`);
    }
    checkConversion(where, out, x);
    if (instruction.attributes.accumulate && PACKED.includes(x.dtype)) {
      refuse(where, 'formats that can be added', x.dtype);
    }
    return;
  }
  if (x.dtype !== out.dtype) refuse(where, `a result in ${x.dtype}, as the input`, out.dtype);
  if (core.dma?.transposeFromHbm == null) refuse(where, 'NeuronCore-v3 or later for a DMA transpose', core.id);
  const bytes = DTYPES[x.dtype].bytes;
  if (bytes !== 2 && bytes !== 4) refuse(where, 'elements of 2 or 4 bytes', x.dtype);
  if (out.partitions !== x.length || out.length !== x.partitions) {
    refuse(where, `a result of ${x.length} x ${x.partitions}`, `${out.partitions} x ${out.length}`);
  }
}

/** Scales are moved as they are; all other formats convert into each other. */
function checkConversion(where: string, out: View, x: View): void {
  if (x.dtype !== out.dtype && (x.dtype === 'e8m0' || out.dtype === 'e8m0')) {
    refuse(where, 'e8m0 on both sides or on none', `${x.dtype} to ${out.dtype}`);
  }
}

function sameShape(where: string, a: TileView, b: TileView): void {
  if (a.partitions !== b.partitions || a.length !== b.length) {
    refuse(where, `operands of one shape, ${a.partitions} x ${a.length}`, `${b.partitions} x ${b.length}`);
  }
}

/** Refuses an output that is not `length` elements on each partition of `like`. */
function rows(where: string, view: TileView, like: TileView, length: number): void {
  if (view.partitions !== like.partitions || view.length !== length) {
    refuse(where, `an output of ${like.partitions} x ${length}`, `${view.partitions} x ${view.length}`);
  }
}

/** Refuses what is not one element for each partition of `like`. */
function column(where: string, name: string, view: TileView | HbmView, like: TileView): void {
  if (view.partitions !== like.partitions || view.length !== 1) {
    refuse(where, `${name} of ${like.partitions} x 1`, `${view.partitions} x ${view.length}`);
  }
}

/** An operand that all elements of a partition share: a number, or one element for each partition. */
function scalar(where: string, name: string, operand: ScalarOperand, like: TileView): void {
  if (typeof operand === 'number') {
    if (!Number.isFinite(operand)) refuse(where, `a finite ${name}`, operand);
  } else column(where, name, operand, like);
}
