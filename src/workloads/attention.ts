/**
 * Causal attention of one query head, a block of query rows at a time, so that the scores of a long prompt never stand
 * in memory whole:  out = softmax(q k^T / sqrt(d)) v  over the keys up to each query, or the last `window` of them.
 */
import { matmul, type Rounding, softmax, type Tensor } from '../kernels/index.ts';

const QUERY_BLOCK = 128;

/**
 * `q`, `k`, `v`: [tokens, d], views of equal dtype; `out`: [tokens, d] f32. The probabilities are rounded to the dtype
 * of the operands, as they pass from the softmax to the second matmul. `rounding` is asked once for each block.
 */
export function attendHead(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  out: Tensor,
  { window, rounding }: { window: number | null; rounding: (block: number) => Rounding },
): void {
  const { arena } = q;
  const [tokens, headDim] = q.shape as [number, number];
  const scale = 1 / Math.sqrt(headDim);
  for (let begin = 0; begin < tokens; begin += QUERY_BLOCK) {
    const end = Math.min(tokens, begin + QUERY_BLOCK);
    // Keys after the block's last query are masked for all of it.
    const scores = arena.tensor('f32', [end - begin, end]);
    const probabilities = arena.tensor(q.dtype, [end - begin, end]);
    matmul(q.rows(begin, end), k.rows(0, end).transpose(), scores);
    softmax(scores, probabilities, {
      scale,
      visible: begin + 1,
      ...(window === null ? {} : { window }),
      rounding: rounding(begin / QUERY_BLOCK),
    });
    matmul(probabilities, v.rows(0, end), out.rows(begin, end));
    scores.dispose();
    probabilities.dispose();
  }
}
