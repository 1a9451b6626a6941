/**
 * The operators of a decoder layer on a tape: forward, backward, and what the clock is asked for each. A matmul's backward
 * pass is two matmuls; the other operators' is timed as a multiple of the forward one, by the tensors that it moves, as
 * in the operator graphs (`models/builder.ts`): 1.5 for a norm, 5/3 for a gated product, 2.5 for attention (five
 * matmuls for two).
 *
 * `parallelInput` and `sumPartials` are Megatron's f and g: nothing forward and a sum over the ranks backward, and the reverse.
 * see: Shoeybi et al., Megatron-LM, arXiv:1909.08053, section 3.
 */
import {
  add,
  addBias,
  attention as attend,
  cast,
  swiglu as gatedProduct,
  matmul,
  rmsnorm,
  rope as rotate,
  type Tensor,
} from '../../kernels/index.ts';
import { type AttentionShape, attentionBackward, rmsnormBackward, store, swigluBackward } from './backward.ts';
import type { Copies, Value } from './program.ts';
import { formatOf, matrixOf, type Parameter, pointwiseCase, type Tape } from './tape.ts';

/** Megatron's f: `x`, the same on all ranks of the group, as the input of operators that are cut over them. */
export function parallelInput(tape: Tape, x: Value): Value {
  const input = tape.program.partOf(x, x.name, 0, x.shape, 'none');
  tape.onBackward(() => {
    const gradient = tape.gradientOf(input);
    tape.program.allReduce(`all-reduce of the gradient of ${x.name}`, gradient, 'tp');
    tape.contribute(x, gradient);
  });
  return input;
}

/** Megatron's g: the sum of the ranks' `x`, in its place. */
export function sumPartials(tape: Tape, x: Value, name: string): Value {
  tape.program.allReduce(name, x, 'tp');
  const sum = tape.program.partOf(x, x.name, 0, x.shape, 'tp');
  tape.onBackward(() => tape.contribute(x, tape.gradientOf(sum)));
  return sum;
}

export interface LinearOptions {
  readonly name: string;
  readonly bias?: Parameter;
  /** The weight is stored as [out, in]. */
  readonly transposed?: boolean;
}

/**
 * y = x W (+ bias): x [rows, in], W [in, out], y [rows, out]; dx = dy W^T, dW = x^T dy, dbias = the sum of dy over rows.
 * The bias joins the FP32 accumulator, so that the result is rounded once with a bias or without. W stands for the part of the
 * matrix on this rank: whether y or a sum of several y is the layer's result is the caller's cut, and copies are 'none'.
 */
export function linear(tape: Tape, x: Value, parameter: Parameter, options: LinearOptions): Value {
  const { program } = tape;
  const { name, bias, transposed = false } = options;
  const { weight, gradient: dWeight } = parameter;
  const { rows, cols: k } = matrixOf(x);
  const n = weight.shape[transposed ? 0 : 1]!;
  const dtype = formatOf(tape.dtype);
  const matmulCase = (m: number, inner: number, columns: number) => ({
    operator: { op: 'matmul' as const, dims: { m, k: inner, n: columns }, dtype },
    repeat: 1,
  });
  const oriented = (w: Tensor): Tensor => (transposed ? w.transpose() : w);
  const y = tape.activation(name, [rows, n], 'none');
  program.operator({
    name,
    cases: [matmulCase(rows, k, n)],
    reads: [x, weight, ...(bias ? [bias.weight] : [])],
    writes: [y],
    compute({ arena, rounding }, [input, w, b], [out]) {
      if (b === undefined) {
        matmul(input!, oriented(w!), out!, { rounding: rounding(0) });
        return;
      }
      using accumulator = arena.tensor('f32', out!.shape);
      matmul(input!, oriented(w!), accumulator);
      addBias(b.slice(0, b.length), accumulator);
      cast(accumulator, out!, rounding(0));
    },
  });
  tape.onBackward(() => {
    const dy = tape.gradientOf(y);
    const dx = tape.activation(`gradient of ${x.name} by ${name}`, x.shape, 'none');
    program.operator({
      name: `${name}, input gradient`,
      cases: [matmulCase(rows, n, k)],
      reads: [dy, weight],
      writes: [dx],
      compute: ({ rounding }, [d, w], [out]) => {
        matmul(d!, oriented(w!).transpose(), out!, { rounding: rounding(0) });
      },
    });
    tape.contribute(x, dx);
    tape.claim(parameter);
    program.operator({
      name: `${name}, weight gradient`,
      cases: [matmulCase(k, rows, n)],
      reads: [x, dy],
      writes: [dWeight, ...(bias ? [bias.gradient] : [])],
      compute: ({ rounding }, [input, d], [out, dBias]) => {
        const [left, right] = transposed ? [d!, input!] : [input!, d!];
        matmul(left.transpose(), right, out!, { rounding: rounding(0) });
        if (dBias) store(columnSums(d!), dBias, rounding(1));
      },
    });
  });
  return y;
}

/** In double precision: over thousands of tokens FP32 would lose what the one rounding at the end is meant to keep. */
function columnSums(matrix: Tensor): Float32Array {
  const cols = matrix.shape[1]!;
  const sums = new Float64Array(cols);
  matrix.toFloat32().forEach((value, i) => {
    sums[i % cols] = sums[i % cols]! + value;
  });
  return Float32Array.from(sums);
}

export interface NormOptions {
  readonly name: string;
  readonly epsilon: number;
  /** 'tp' on the residual stream, 'none' on a rank's heads. */
  readonly copies: Copies;
}

/**
 * RMSNorm of `x` in rows of the weight's length: of the residual stream [tokens, hidden], or of single heads, where a row of
 * `x` holds several. On ranks that hold copies of the stream all compute the same, gradient of the weight included, which
 * is why no sum over them follows.
 */
export function rmsNorm(tape: Tape, x: Value, parameter: Parameter, { name, epsilon, copies }: NormOptions): Value {
  const { program } = tape;
  const { weight, gradient: dWeight } = parameter;
  const cols = weight.shape.at(-1)!;
  const rowsOf = (tensor: Tensor): Tensor => tensor.reshape([tensor.length / cols, cols]);
  const y = tape.activation(name, x.shape, copies);
  const norm = (repeat: number) => {
    const { rows, cols: width } = matrixOf(x);
    const dims = { rows: (rows * width) / cols, cols };
    return { operator: { op: 'rmsnorm' as const, dims, dtype: formatOf(tape.dtype) }, repeat };
  };
  program.operator({
    name,
    cases: [norm(1)],
    reads: [x, weight],
    writes: [y],
    compute: ({ rounding }, [input, gamma], [out]) => {
      rmsnorm(rowsOf(input!), gamma!.slice(0, cols), rowsOf(out!), { epsilon, rounding: rounding(0) });
    },
  });
  tape.onBackward(() => {
    const dx = tape.activation(`gradient by ${name}`, x.shape, copies);
    tape.claim(parameter);
    program.operator({
      name: `${name}, gradient`,
      cases: [norm(1.5)],
      reads: [x, weight, tape.gradientOf(y)],
      writes: [dx, dWeight],
      compute: ({ rounding }, [input, gamma, dy], [out, dGamma]) => {
        rmsnormBackward({ x: input!, gamma: gamma!, dy: dy! }, { dx: out!, dGamma: dGamma! }, epsilon, rounding);
      },
    });
    tape.contribute(x, dx);
  });
  return y;
}

/** Tables of the rotary embedding: [tokens, headDim / 2] f32, one row for each row of the activations. */
export interface RopeTables {
  readonly cos: Value;
  readonly sin: Value;
}

/**
 * Turns the heads of `x` [tokens, heads headDim]. A rotation is orthogonal: its backward pass is the rotation by the opposite
 * angles, the same kernel with -sin.
 */
export function rope(tape: Tape, x: Value, { cos, sin }: RopeTables, name: string): Value {
  const { program } = tape;
  const half = cos.shape[1]!;
  const perHead = (tensor: Tensor): Tensor => {
    const [tokens, width] = tensor.shape as [number, number];
    return tensor.reshape([tokens, width / (2 * half), 2 * half]);
  };
  const y = tape.activation(name, x.shape, 'none');
  const cases = [pointwiseCase('rope', x)];
  program.operator({
    name,
    cases,
    reads: [x, cos, sin],
    writes: [y],
    compute: ({ rounding }, [input, c, s], [out]) => rotate(perHead(input!), c!, s!, perHead(out!), rounding(0)),
  });
  tape.onBackward(() => {
    const dx = tape.activation(`gradient by ${name}`, x.shape, 'none');
    program.operator({
      name: `${name}, gradient`,
      cases,
      reads: [tape.gradientOf(y), cos, sin],
      writes: [dx],
      compute: ({ arena, rounding }, [dy, c, s], [out]) => {
        using back = arena.tensor('f32', s!.shape);
        back.set(s!.toFloat32().map((value) => -value));
        rotate(perHead(dy!), c!, back, perHead(out!), rounding(0));
      },
    });
    tape.contribute(x, dx);
  });
  return y;
}

/**
 * Causal attention within each sequence: q [sequences tokens, heads headDim], k and v with `kvHeads`. The kernel gets one
 * sequence at a time, as tokens of one must not see another's; all leave in FP32 and are rounded together. Nothing but the
 * operands is kept for the backward pass, which computes the probabilities again.
 */
export function attention(tape: Tape, operands: readonly [Value, Value, Value], shape: AttentionShape): Value {
  const { program } = tape;
  const { heads, kvHeads, headDim, sequences, window } = shape;
  const [q, k, v] = operands;
  const queries = q.shape[0]! / sequences;
  const dims = { batch: sequences, heads, kvHeads, headDim, seqQ: queries, seqKv: queries };
  const limits = window === undefined ? {} : { window };
  const operator = { op: 'attention' as const, dims, dtype: formatOf(tape.dtype), causal: true, ...limits };
  const out = tape.activation('attention', q.shape, 'none');
  program.operator({
    name: out.name,
    cases: [{ operator, repeat: 1 }],
    reads: [q, k, v],
    writes: [out],
    compute: ({ arena, rounding }, tensors, [result]) => {
      using wide = arena.tensor('f32', result!.shape);
      for (let sequence = 0; sequence < sequences; sequence++) {
        const perHead = (tensor: Tensor, count: number): Tensor =>
          tensor.rows(sequence * queries, (sequence + 1) * queries).reshape([queries, count, headDim]);
        const [qs, ks, vs] = tensors as [Tensor, Tensor, Tensor];
        attend(perHead(qs, heads), perHead(ks, kvHeads), perHead(vs, kvHeads), perHead(wide, heads), limits);
      }
      cast(wide, result!, rounding(0));
    },
  });
  tape.onBackward(() => {
    const gradients = operands.map((operand) => tape.activation(`gradient of ${operand.name}`, operand.shape, 'none'));
    program.operator({
      name: 'attention, gradient',
      cases: [{ operator, repeat: 2.5 }],
      reads: [q, k, v, tape.gradientOf(out)],
      writes: gradients,
      compute: ({ rounding }, [qs, ks, vs, dOut], [dQ, dK, dV]) => {
        const results = { dQ: dQ!, dK: dK!, dV: dV! };
        attentionBackward({ q: qs!, k: ks!, v: vs!, dOut: dOut! }, results, shape, rounding);
      },
    });
    operands.forEach((operand, i) => {
      tape.contribute(operand, gradients[i]!);
    });
  });
  return out;
}

/** silu(gate) up, on the rank's columns of both. Its backward pass moves five tensors where the forward one moves three. */
export function swiglu(tape: Tape, gate: Value, up: Value): Value {
  const { program } = tape;
  const y = tape.activation('SiLU product', gate.shape, 'none');
  program.operator({
    name: y.name,
    cases: [pointwiseCase('swiglu', gate)],
    reads: [gate, up],
    writes: [y],
    compute: ({ rounding }, [a, b], [out]) => gatedProduct(a!, b!, out!, rounding(0)),
  });
  tape.onBackward(() => {
    const dGate = tape.activation('gradient of gate', gate.shape, 'none');
    const dUp = tape.activation('gradient of up', up.shape, 'none');
    program.operator({
      name: 'SiLU product, gradient',
      cases: [pointwiseCase('swiglu', gate, 5 / 3)],
      reads: [gate, up, tape.gradientOf(y)],
      writes: [dGate, dUp],
      compute: ({ rounding }, [a, b, dy], [da, db]) => {
        swigluBackward({ gate: a!, up: b!, dy: dy! }, { dGate: da!, dUp: db! }, rounding);
      },
    });
    tape.contribute(gate, dGate);
    tape.contribute(up, dUp);
  });
  return y;
}

/** a + b on the residual stream; the gradient goes to both as it is. */
export function residual(tape: Tape, a: Value, b: Value): Value {
  const y = tape.activation('residual', a.shape, 'tp');
  tape.program.operator({
    name: y.name,
    cases: [pointwiseCase('add', a)],
    reads: [a, b],
    writes: [y],
    compute: ({ rounding }, [left, right], [out]) => add(left!, right!, out!, rounding(0)),
  });
  tape.onBackward(() => {
    const gradient = tape.gradientOf(y);
    tape.contribute(a, gradient);
    tape.contribute(b, gradient);
  });
  return y;
}
