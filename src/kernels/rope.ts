/**
 * Rotary position embedding. `x` in its storage format, FP32 inside, one rounding into `out`.
 */
import { type Rounding, storeRounded } from './cast.ts';
import { expectApart, expectFloat32, expectOperands, withFloat32 } from './layer-operands.ts';
import { expectShape, type Tensor } from './tensor.ts';

/**
 * Rotary embedding, "rotate half": element j of a head turns with element j + headDim / 2. `x`, `out`:
 * [tokens, heads, headDim], `cos`, `sin`: [tokens, headDim / 2] f32. `out` must not be `x`.
 */
export function rope(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor, rounding: Rounding = 'nearest'): void {
  const { kernels } = out.arena;
  const [tokens, heads, half] = expectRope(x, cos, sin, out);
  storeRounded(out, rounding, (y) => {
    if (x.dtype === 'bf16') kernels.rope_bf16(tokens, heads, half, x.offset, cos.offset, sin.offset, y);
    else withFloat32([x], (wide) => kernels.rope_f32(tokens, heads, half, wide!, cos.offset, sin.offset, y));
  });
}

/** As `rope` with interleaved pairs, as in GPT-J: element 2 j of a head turns with element 2 j + 1. */
export function ropeInterleaved(
  x: Tensor,
  cos: Tensor,
  sin: Tensor,
  out: Tensor,
  rounding: Rounding = 'nearest',
): void {
  const { kernels } = out.arena;
  const [tokens, heads, half] = expectRope(x, cos, sin, out);
  storeRounded(out, rounding, (y) => {
    withFloat32([x], (wide) => kernels.ropePairs_f32(tokens, heads, half, wide!, cos.offset, sin.offset, y));
  });
}

/** Checks the operands; returns [tokens, heads, headDim / 2]. */
function expectRope(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor): [number, number, number] {
  expectOperands({ x }, out);
  expectOperands({ cos, sin }, out);
  if (x.shape.length !== 3 || x.shape[2]! % 2 !== 0) {
    throw new RangeError(`"x" expected shape [tokens, heads, even headDim], got [${x.shape}]`);
  }
  const [tokens, heads, headDim] = x.shape as [number, number, number];
  expectShape('cos', cos, [tokens, headDim / 2]);
  expectShape('sin', sin, [tokens, headDim / 2]);
  expectShape('out', out, x.shape);
  expectFloat32('cos', cos);
  expectApart('x', x, out);
  return [tokens, heads, headDim / 2];
}
