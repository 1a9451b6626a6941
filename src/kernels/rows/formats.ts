/** Registry rows of the conversions: through a format and back, and through the quantised forms. */
import { cast } from '../cast.ts';
import type { DType } from '../dtype.ts';
import {
  createMxTensor,
  dequantizeInt8,
  dequantizeMx,
  MX_BLOCK,
  type MxDType,
  quantizeInt8,
  quantizeMx,
} from '../quantize.ts';
import { type FloatDType, mxExponent, mxRoundTrip, roundedTo } from '../reference/formats.ts';
import { plain, reference } from '../reference/reference.ts';
import { EDGES, type KernelRow } from './row.ts';

const F32_ONLY: readonly DType[] = ['f32'];
const FLOATS: readonly FloatDType[] = ['bf16', 'f16', 'f8e4m3', 'f8e4m3fn', 'f8e5m2', 'f8e3m4'];
/** 2^k is what the largest of a block becomes: Emax - 1, the rule of `nki`. */
const MX: readonly { readonly dtype: MxDType; readonly k: number }[] = [
  { dtype: 'f8e4m3fn', k: 7 },
  { dtype: 'f8e5m2', k: 14 },
  { dtype: 'f4e2m1', k: 1 },
];

export const formatRows: readonly KernelRow[] = [
  ...FLOATS.map(
    (dtype): KernelRow => ({
      name: `through-${dtype}`,
      dtypes: F32_ONLY,
      operands: ({ n }) => [{ shape: [n!] }],
      outShape: ({ n }) => [n!],
      run: ([x], out) => {
        using short = out.arena.tensor(dtype, x!.shape);
        cast(x!, short, 'nearest', { saturate: true });
        cast(short, out);
      },
      reference: ([x]) => reference(x!.length, (i) => plain(roundedTo(dtype, x![i]!))),
      roundings: () => 0,
      flops: ({ n }) => 2 * n!,
      bytes: ({ n }) => 8 * n!,
      tested: EDGES.map((n) => ({ n })),
      timed: [{ n: 1 << 18 }],
    }),
  ),
  ...MX.map(
    ({ dtype, k }): KernelRow => ({
      name: `through-mx-${dtype}`,
      dtypes: F32_ONLY,
      operands: ({ rows, cols }) => [{ shape: [rows!, cols!] }],
      outShape: ({ rows, cols }) => [rows!, cols!],
      run: ([x], out) => {
        const [rows, cols] = x!.shape;
        const short = createMxTensor(out.arena, dtype, [rows!, cols!], 1);
        quantizeMx(x!, short);
        dequantizeMx(short, out);
        short.elements.dispose();
        short.scales.dispose();
      },
      reference: ([x]) => {
        const blocks = Array.from({ length: x!.length / MX_BLOCK }, (_, i) => {
          const block = x!.subarray(i * MX_BLOCK, (i + 1) * MX_BLOCK);
          return mxRoundTrip(dtype, block, mxExponent(block, k));
        }).flat();
        return reference(x!.length, (i) => plain(blocks[i]!));
      },
      roundings: () => 0,
      flops: ({ rows, cols }) => 4 * rows! * cols!,
      bytes: ({ rows, cols }) => 8 * rows! * cols!,
      tested: [0, 1, 3, 17].map((rows) => ({ rows, cols: 96 })),
      timed: [{ rows: 512, cols: 512 }],
    }),
  ),
  {
    name: 'through-int8',
    dtypes: F32_ONLY,
    operands: ({ rows, cols }) => [{ shape: [rows!, cols!] }],
    outShape: ({ rows, cols }) => [rows!, cols!],
    run: ([x], out) => {
      using elements = out.arena.tensor('i8', x!.shape);
      using scales = out.arena.tensor('f32', [x!.shape[0]!]);
      quantizeInt8(x!, { elements, scales });
      dequantizeInt8({ elements, scales }, out);
    },
    reference: ([x], { cols }) => {
      const scales = Array.from({ length: x!.length / cols! }, (_, row) => {
        const magnitudes = x!.subarray(row * cols!, (row + 1) * cols!).map(Math.abs);
        return Math.fround(magnitudes.reduce((a, b) => Math.max(a, b), 0) / 127);
      });
      return reference(x!.length, (i) => {
        const scale = scales[Math.floor(i / cols!)]!;
        const scaled = Math.fround(x![i]! * Math.fround(1 / scale));
        // Nearest even: a tie is exact in the doubled number.
        const down = Math.floor(scaled);
        const isUp = scaled - down > 0.5 || (scaled - down === 0.5 && down % 2 !== 0);
        return plain((isUp ? down + 1 : down) * scale);
      });
    },
    roundings: () => 1,
    flops: ({ rows, cols }) => 3 * rows! * cols!,
    bytes: ({ rows, cols }) => 8 * rows! * cols!,
    tested: EDGES.filter((cols) => cols > 0).map((cols) => ({ rows: 3, cols })),
    timed: [{ rows: 512, cols: 512 }],
  },
];
