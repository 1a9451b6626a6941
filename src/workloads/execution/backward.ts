/**
 * The backward halves of the operators that are more than a matmul, on tensors. Operands in their storage format, FP32
 * inside (sums over a row in double), one rounding into each result.
 *
 *     rmsnorm    y = x g r, r = 1 / sqrt(mean x^2 + e):   dx = r g dy - x r^3 / n sum(g dy x),   dg = sum over rows of dy x r
 *     swiglu     y = silu(a) b, s = 1 / (1 + e^-a):       da = dy b s (1 + a (1 - s)),           db = dy a s
 *     attention  P = softmax(c Q K^T), O = P V:           dV = P^T dO,  dS = c P (dO V^T - sum over keys of dO V^T P),
 *                                                         dQ = dS K,    dK = dS^T Q
 *
 * Attention computes its probabilities again, a block of queries at a time, as flash attention does.
 * see: Dao et al.: FlashAttention (2022), algorithm 4.
 */
import { type Arena, cast, exp, matmul, type Rounding, softmax, type Tensor } from '../../kernels/index.ts';

/** Stores FP32 numbers in `out`, rounded once. */
export function store(values: Float32Array, out: Tensor, rounding: Rounding): void {
  if (out.dtype === 'f32') {
    out.set(values);
    return;
  }
  using wide = out.arena.tensor('f32', [out.length]);
  wide.set(values);
  cast(wide, out, rounding);
}

/** `x`, `dy`, `dx`: [rows, cols]; `gamma`, `dGamma`: [cols]. */
export function rmsnormBackward(
  operands: { readonly x: Tensor; readonly gamma: Tensor; readonly dy: Tensor },
  results: { readonly dx: Tensor; readonly dGamma: Tensor },
  epsilon: number,
  rounding: (i: number) => Rounding,
): void {
  const [x, gamma, dy] = [operands.x.toFloat32(), operands.gamma.toFloat32(), operands.dy.toFloat32()];
  const cols = gamma.length;
  const rows = x.length / cols;
  const dx = new Float32Array(x.length);
  const dGamma = new Float64Array(cols);
  for (let row = 0; row < rows; row++) {
    const from = row * cols;
    let squares = 0;
    let product = 0;
    for (let c = 0; c < cols; c++) {
      const value = x[from + c]!;
      squares += value * value;
      product += value * gamma[c]! * dy[from + c]!;
    }
    const r = 1 / Math.sqrt(squares / cols + epsilon);
    const drift = (r * r * r * product) / cols;
    for (let c = 0; c < cols; c++) {
      const value = x[from + c]!;
      const gradient = dy[from + c]!;
      dx[from + c] = r * gamma[c]! * gradient - drift * value;
      dGamma[c] = dGamma[c]! + gradient * value * r;
    }
  }
  store(dx, results.dx, rounding(0));
  store(Float32Array.from(dGamma), results.dGamma, rounding(1));
}

/** All of one shape. */
export function swigluBackward(
  operands: { readonly gate: Tensor; readonly up: Tensor; readonly dy: Tensor },
  results: { readonly dGate: Tensor; readonly dUp: Tensor },
  rounding: (i: number) => Rounding,
): void {
  const { arena, length } = operands.gate;
  const [gate, up, dy] = [operands.gate.toFloat32(), operands.up.toFloat32(), operands.dy.toFloat32()];
  using exponential = arena.tensor('f32', [length]);
  exponential.set(gate.map((a) => -a));
  exp(exponential, exponential);
  const e = exponential.toFloat32();
  const dUp = new Float32Array(length);
  for (let i = 0; i < length; i++) {
    const a = gate[i]!;
    const s = 1 / (1 + e[i]!);
    const g = dy[i]!;
    dUp[i] = g * a * s;
    // In the place of the gate, which is read no more.
    gate[i] = g * up[i]! * s * (1 + a * (1 - s));
  }
  store(gate, results.dGate, rounding(0));
  store(dUp, results.dUp, rounding(1));
}

/** Queries whose scores stand in memory at once. */
const QUERY_BLOCK = 128;

export interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly sequences: number;
  readonly window?: number;
}

/** `q`, `dOut`, `dQ`: [tokens, heads headDim]; `k`, `v`, `dK`, `dV`: [tokens, kvHeads headDim]. Causal. */
export function attentionBackward(
  operands: { readonly q: Tensor; readonly k: Tensor; readonly v: Tensor; readonly dOut: Tensor },
  results: { readonly dQ: Tensor; readonly dK: Tensor; readonly dV: Tensor },
  shape: AttentionShape,
  rounding: (i: number) => Rounding,
): void {
  const { arena } = operands.q;
  const { heads, kvHeads, headDim, sequences } = shape;
  const queries = operands.q.shape[0]! / sequences;
  using dQ = arena.tensor('f32', operands.q.shape);
  using dK = arena.tensor('f32', operands.k.shape);
  using dV = arena.tensor('f32', operands.v.shape);
  // Query heads of a group and blocks of queries add to the same keys.
  for (const sum of [dK, dV]) sum.bytesView().fill(0);
  for (let sequence = 0; sequence < sequences; sequence++) {
    const of = (tensor: Tensor, head: number): Tensor =>
      tensor.rows(sequence * queries, (sequence + 1) * queries).columns(head * headDim, (head + 1) * headDim);
    for (let head = 0; head < heads; head++) {
      const kv = Math.floor((head * kvHeads) / heads);
      const { q, k, v, dOut } = operands;
      const operandsOfHead = { q: of(q, head), k: of(k, kv), v: of(v, kv), dOut: of(dOut, head) };
      headBackward(arena, operandsOfHead, { dQ: of(dQ, head), dK: of(dK, kv), dV: of(dV, kv) }, shape.window);
    }
  }
  cast(dQ, results.dQ, rounding(0));
  cast(dK, results.dK, rounding(1));
  cast(dV, results.dV, rounding(2));
}

/** One head of one sequence, all [queries, headDim]; writes dQ, adds to dK and dV. */
function headBackward(
  arena: Arena,
  { q, k, v, dOut }: { q: Tensor; k: Tensor; v: Tensor; dOut: Tensor },
  { dQ, dK, dV }: { dQ: Tensor; dK: Tensor; dV: Tensor },
  window: number | undefined,
): void {
  const [queries, headDim] = q.shape as [number, number];
  const scale = 1 / Math.sqrt(headDim);
  for (let begin = 0; begin < queries; begin += QUERY_BLOCK) {
    const end = Math.min(queries, begin + QUERY_BLOCK);
    const firstKey = window === undefined ? 0 : Math.max(0, begin + 1 - window);
    const [keys, values] = [k.rows(firstKey, end), v.rows(firstKey, end)];
    const [here, dHere] = [q.rows(begin, end), dOut.rows(begin, end)];
    using scores = arena.tensor('f32', [end - begin, end - firstKey]);
    using weights = arena.tensor('f32', scores.shape);
    matmul(here, keys.transpose(), scores);
    softmax(scores, weights, { scale, visible: begin + 1 - firstKey, ...(window !== undefined && { window }) });
    matmul(weights.transpose(), dHere, dV.rows(firstKey, end), { accumulate: true });
    // dO V^T takes the place of the scores, and dS that of both.
    matmul(dHere, values.transpose(), scores);
    softmaxBackward(weights, scores, scale);
    matmul(scores, keys, dQ.rows(begin, end));
    matmul(scores.transpose(), here, dK.rows(firstKey, end), { accumulate: true });
  }
}

/** gradient[r, c] = scale weights[r, c] (gradient[r, c] - sum over c of gradient[r, c] weights[r, c]), in place, f32. */
function softmaxBackward(weights: Tensor, gradient: Tensor, scale: number): void {
  const { arena, length } = weights;
  const cols = weights.shape[1]!;
  const p = new Float32Array(arena.memory.buffer, weights.offset, length);
  const g = new Float32Array(arena.memory.buffer, gradient.offset, length);
  for (let from = 0; from < length; from += cols) {
    let sum = 0;
    for (let i = from; i < from + cols; i++) sum += p[i]! * g[i]!;
    for (let i = from; i < from + cols; i++) g[i] = scale * p[i]! * (g[i]! - sum);
  }
}
