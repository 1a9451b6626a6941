/**
 * Where the tape begins and ends: the embedding and the losses. Embedding table and output projection are cut over the
 * vocabulary; where it does not divide evenly the last rank's rows beyond it are padding that no token meets.
 *
 *     cross-entropy   mean over tokens of log(sum of e^logit) - logit of the target: maximum, then sum and target logit, are
 *                     reduced over the ranks, three numbers a token
 *     squared error   mean over elements of (y - target)^2 / 2
 *
 * see: Shoeybi et al., Megatron-LM, arXiv:1909.08053, section 3.
 */
import { log } from '../../base/math.ts';
import { exp, gatherRows, type Tensor } from '../../kernels/index.ts';
import { store } from './backward.ts';
import type { Value } from './program.ts';
import { type Parameter, pointwiseCase, type Tape } from './tape.ts';

/** Rows of `table` [vocabulary of the rank, hidden] for `tokens` [rows] i32; zeros for tokens of other ranks. */
export function embedding(tape: Tape, tokens: Value, table: Parameter): Value {
  const { program } = tape;
  const [vocab, hidden] = table.weight.shape as [number, number];
  const y = tape.activation('embedding', [tokens.shape[0]!, hidden], 'none');
  program.operator({
    name: y.name,
    cases: [pointwiseCase('embedding', y)],
    reads: [tokens, table.weight],
    writes: [y],
    compute: ({ tpRank }, [ids, rows], [out]) => {
      const own = ownRows(ids!, tpRank, vocab);
      gatherRows(
        rows!,
        own.map((row) => Math.max(0, row)),
        out!,
      );
      own.forEach((row, i) => {
        if (row < 0)
          out!
            .rows(i, i + 1)
            .bytesView()
            .fill(0);
      });
    },
  });
  tape.onBackward(() => {
    const adds = tape.claim(table);
    program.operator({
      name: 'embedding, gradient',
      cases: [pointwiseCase('embedding', y, 1.5)],
      reads: [tokens, tape.gradientOf(y), ...(adds ? [table.gradient] : [])],
      writes: [table.gradient],
      compute: ({ tpRank, rounding }, [ids, dy], [out]) => {
        const sum = adds ? out!.toFloat32() : new Float32Array(out!.length);
        const gradient = dy!.toFloat32();
        ownRows(ids!, tpRank, vocab).forEach((row, i) => {
          if (row < 0) return;
          for (let c = 0; c < hidden; c++) sum[row * hidden + c] = sum[row * hidden + c]! + gradient[i * hidden + c]!;
        });
        store(sum, out!, rounding(0));
      },
    });
  });
  return y;
}

/** For each token its row of the rank's part of the vocabulary, -1 if it is another rank's. */
function ownRows(ids: Tensor, tpRank: number, vocab: number): Int32Array {
  return Int32Array.from(ids.toFloat32(), (id) => {
    const row = id - tpRank * vocab;
    return row >= 0 && row < vocab ? row : -1;
  });
}

/** Mean over `tokens` tokens, those of all data-parallel ranks. `logits`: [rows, vocabulary of the rank]. */
export function crossEntropy(tape: Tape, logits: Value, targets: Value, vocab: number, tokens: number): Value {
  const { program } = tape;
  const [rows, cols] = logits.shape as [number, number];
  const filled = (tpRank: number): number => Math.min(cols, vocab - tpRank * cols);
  const pass = (repeat: number) => [pointwiseCase('softmax', logits, repeat)];

  const maxima = program.value('logit maxima', 'f32', [rows], 'tp');
  program.operator({
    name: maxima.name,
    // One reading of the logits of the two and one writing that a softmax makes; the exponentials are the other.
    cases: pass(1 / 3),
    reads: [logits],
    writes: [maxima],
    compute: ({ tpRank }, [tensor], [out]) => {
      const values = tensor!.toFloat32();
      const most = new Float32Array(rows).fill(Number.NEGATIVE_INFINITY);
      for (let row = 0; row < rows; row++) {
        for (let c = 0; c < filled(tpRank); c++) most[row] = Math.max(most[row]!, values[row * cols + c]!);
      }
      out!.set(most);
    },
  });
  program.allReduce('all-reduce of logit maxima', maxima, 'tp', 'max');

  const sums = program.value('logit sums', 'f32', [2, rows], 'tp');
  program.operator({
    name: sums.name,
    cases: pass(1 / 3),
    reads: [logits, maxima, targets],
    writes: [sums],
    compute: ({ tpRank }, [tensor, most, ids], [out]) => {
      const e = exponentials(tensor!, most!, filled(tpRank));
      const values = tensor!.toFloat32();
      const [top, own] = [most!.toFloat32(), ownRows(ids!, tpRank, cols)];
      const result = new Float32Array(2 * rows);
      for (let row = 0; row < rows; row++) {
        let sum = 0;
        for (let c = 0; c < cols; c++) sum += e[row * cols + c]!;
        result[row] = sum;
        if (own[row]! >= 0) result[rows + row] = values[row * cols + own[row]!]! - top[row]!;
      }
      out!.set(result);
    },
  });
  program.allReduce('all-reduce of logit sums', sums, 'tp');

  const loss = program.persistent('loss', 'f32', [1], 'dp');
  program.operator({
    name: 'loss',
    cases: [],
    reads: [sums],
    writes: [loss],
    compute: (_, [tensor], [out]) => {
      const values = tensor!.toFloat32();
      let total = 0;
      for (let row = 0; row < rows; row++) total += log(values[row]!) - values[rows + row]!;
      out!.set([total / tokens]);
    },
  });
  program.allReduce('all-reduce of the loss', loss, 'dp');

  tape.onBackward(() => {
    const dLogits = tape.activation('gradient of logits', logits.shape, 'none');
    program.operator({
      name: dLogits.name,
      cases: pass(2 / 3),
      reads: [logits, maxima, sums, targets],
      writes: [dLogits],
      compute: ({ tpRank, rounding }, [tensor, most, total, ids], [out]) => {
        const e = exponentials(tensor!, most!, filled(tpRank));
        const [sum, own] = [total!.toFloat32(), ownRows(ids!, tpRank, cols)];
        for (let row = 0; row < rows; row++) {
          const scale = 1 / (sum[row]! * tokens);
          for (let c = 0; c < cols; c++) e[row * cols + c] = e[row * cols + c]! * scale;
          const target = row * cols + own[row]!;
          if (own[row]! >= 0) e[target] = e[target]! - 1 / tokens;
        }
        store(e, out!, rounding(0));
      },
    });
    tape.contribute(logits, dLogits);
  });
  return loss;
}

/** e^(logit - maximum of the row); 0 in the columns from `filled` on. */
function exponentials(logits: Tensor, maxima: Tensor, filled: number): Float32Array {
  const { arena, shape, length } = logits;
  const cols = shape[1]!;
  const most = maxima.toFloat32();
  const shifted = logits.toFloat32();
  for (let i = 0; i < length; i++) {
    shifted[i] = i % cols < filled ? shifted[i]! - most[Math.floor(i / cols)]! : Number.NEGATIVE_INFINITY;
  }
  using e = arena.tensor('f32', shape);
  e.set(shifted);
  exp(e, e);
  return e.toFloat32();
}

/** Mean over `elements` elements, those of all data-parallel ranks. */
export function squaredError(tape: Tape, y: Value, target: Value, elements: number): Value {
  const { program } = tape;
  const loss = program.persistent('loss', 'f32', [1], 'dp');
  const difference = (a: Tensor, b: Tensor): Float32Array => {
    const other = b.toFloat32();
    return a.toFloat32().map((value, i) => value - other[i]!);
  };
  program.operator({
    name: 'loss',
    cases: [pointwiseCase('add', y)],
    reads: [y, target],
    writes: [loss],
    compute: (_, [output, wanted], [out]) => {
      let sum = 0;
      for (const d of difference(output!, wanted!)) sum += d * d;
      out!.set([sum / (2 * elements)]);
    },
  });
  program.allReduce('all-reduce of the loss', loss, 'dp');
  tape.onBackward(() => {
    const dy = tape.activation('gradient of output', y.shape, 'tp');
    program.operator({
      name: dy.name,
      cases: [pointwiseCase('add', y)],
      reads: [y, target],
      writes: [dy],
      compute: ({ rounding }, [output, wanted], [out]) => {
        const gradient = difference(output!, wanted!).map((d) => d / elements);
        store(gradient, out!, rounding(0));
      },
    });
    tape.contribute(y, dy);
  });
  return loss;
}
