/**
 * The parts that graphs are made of. A part knows its operators forward and backward; a graph is a list of parts taken in
 * order for the forward pass and in reverse for the backward pass. `GraphBuilder` keeps what the next item waits for.
 */
import type { Bytes, Flops } from '../base/units.ts';
import type { Collective } from '../collectives/schedule.ts';
import type { OperandFormat, OperatorCase, OperatorName } from '../core/operator-case.ts';
import { FORMAT_BYTES, operatorWork } from '../core/operator-work.ts';
import type { CollectiveItem, Dimension, GraphItem } from './graph.ts';

export class GraphBuilder {
  readonly items: GraphItem[] = [];
  /** What the next item of the chain waits for. */
  after: readonly number[] = [];
  /** Set while a pass is computed again: its operations are not useful ones. */
  recomputing = false;
  readonly #gathered = new Map<Exchange, number>();

  /** Adds an operator that waits for `after`, without becoming part of the chain. Returns its index. */
  operator(
    name: string,
    operator: OperatorCase,
    flops: Flops,
    repeat: number = 1,
    after: readonly number[] = this.after,
  ): number {
    const useful = this.recomputing ? 0 : flops;
    return this.#add({ type: 'operator', name: this.#name(name), case: operator, repeat, flops: useful, after });
  }

  collective(item: Omit<CollectiveItem, 'type' | 'after'>, after: readonly number[] = this.after): number {
    return this.#add({ type: 'collective', ...item, name: this.#name(item.name), after });
  }

  /** The index of the second gathering of `exchange` for weight gradients, added when first asked for. */
  gatherAgain(exchange: Exchange): number {
    let index = this.#gathered.get(exchange);
    if (index === undefined) {
      const { name, bytes, dimension, ranks, dtype } = exchange;
      const item = { bytes, dimension, ranks, dtype, collective: 'all-gather' as const, repeat: 1 };
      index = this.collective({ ...item, name: `${name} again` });
      this.#gathered.set(exchange, index);
    }
    return index;
  }

  #name(name: string): string {
    return this.recomputing ? `${name} (recomputed)` : name;
  }

  #add(item: GraphItem): number {
    return this.items.push(item) - 1;
  }
}

/** Which gradients a backward pass computes. */
export interface Gradients {
  readonly input: boolean;
  readonly weight: boolean;
}

export interface Part {
  forward(graph: GraphBuilder): void;
  backward(graph: GraphBuilder, gradients: Gradients): void;
}

/** Operands that stay on chip: see `OperatorCase.resident`. */
export type Resident = NonNullable<OperatorCase['resident']>;

export interface LinearOptions {
  readonly name: string;
  /** Independent products of the same shape, each with its own weights: experts, heads. 1 if left out. */
  readonly batch?: number;
  readonly rows: number;
  readonly k: number;
  readonly n: number;
  /** Useful operations of the forward product on this rank. */
  readonly flops: Flops;
  readonly dtype: OperandFormat;
  readonly weightDtype: OperandFormat;
  readonly outDtype: OperandFormat;
  readonly gradientDtype: OperandFormat;
  readonly resident: Resident;
  /** Residual sum and norm in the same kernel as the forward product. */
  readonly fused?: 'rmsnorm-matmul' | 'add-rmsnorm-matmul';
  /** The exchange that gathered the input, which is kept cut: the weight gradient gathers it again. */
  readonly gather?: Exchange;
}

/** y = x W; dx = dy Wᵀ; dW = xᵀ dy. */
export function linear(options: LinearOptions): Part {
  const { name, batch = 1, rows, k, n, flops, dtype, weightDtype, outDtype, gradientDtype, resident, gather } = options;
  const matmul = (m: number, inner: number, columns: number, out: OperandFormat): OperatorCase => ({
    op: batch === 1 ? 'matmul' : 'batched-matmul',
    dims: batch === 1 ? { m, k: inner, n: columns } : { batch, m, k: inner, n: columns },
    dtype,
    ...(out === dtype ? {} : { outDtype: out }),
  });
  // Wider ones are converted once a step, and read as `dtype`.
  const weights = FORMAT_BYTES[weightDtype] < FORMAT_BYTES[dtype] ? { weightDtype } : {};
  const kept = resident.length > 0 ? { resident } : {};
  return {
    forward(graph) {
      const product = { ...matmul(rows, k, n, outDtype), ...weights, ...kept };
      const operator = options.fused ? { ...product, op: options.fused } : product;
      graph.after = [graph.operator(name, operator, flops)];
    },
    backward(graph, { input, weight }) {
      const from = graph.after;
      const again = weight && gather ? [graph.gatherAgain(gather)] : [];
      if (input) {
        const product = { ...matmul(rows, n, k, outDtype), ...weights };
        graph.after = [graph.operator(`${name}, input gradient`, product, flops)];
      }
      // Not in the chain: nothing in this pass waits for it.
      if (weight) {
        graph.operator(`${name}, weight gradient`, matmul(k, rows, n, gradientDtype), flops, 1, [...from, ...again]);
      }
    },
  };
}

export interface PointwiseOptions {
  readonly name: string;
  readonly op: Extract<
    OperatorName,
    'rmsnorm' | 'layernorm' | 'rope' | 'swiglu' | 'gelu' | 'silu' | 'add' | 'softmax' | 'embedding'
  >;
  readonly rows: number;
  readonly cols: number;
  readonly dtype: OperandFormat;
  readonly resident: Resident;
}

/**
 * Tensors that the backward pass reads and writes, over those of the forward pass: norms, softmax and activations
 * read input or output and the incoming gradient and write one (3 for 2); a gated product reads three and writes two
 * (5 for 3); a residual's gradient is a sum again; a gather becomes a scatter that also reads what it adds to.
 */
const BACKWARD_PASSES: Readonly<Record<PointwiseOptions['op'], number>> = {
  rmsnorm: 1.5,
  layernorm: 1.5,
  softmax: 1.5,
  gelu: 1.5,
  silu: 1.5,
  swiglu: 5 / 3,
  rope: 1,
  add: 1,
  embedding: 1.5,
};

/** An operator without matmul, and without weights to speak of. */
export function pointwise({ name, op, rows, cols, dtype, resident }: PointwiseOptions): Part {
  const operator: OperatorCase = { op, dims: { rows, cols }, dtype, ...(resident.length > 0 ? { resident } : {}) };
  return {
    forward(graph) {
      graph.after = [graph.operator(name, operator, 0)];
    },
    backward(graph, { input }) {
      if (input) graph.after = [graph.operator(`${name}, gradient`, operator, 0, BACKWARD_PASSES[op])];
    },
  };
}

export interface Exchange {
  readonly name: string;
  readonly bytes: Bytes;
  readonly dimension: Dimension;
  readonly ranks: number;
  readonly dtype: OperandFormat;
  /** What it is forward, and what its transpose is backward; null: the data are already where they are needed. */
  readonly forward: Collective | null;
  readonly backward: Collective | null;
}

export function exchange(options: Exchange): Part {
  const { forward, backward, ...rest } = options;
  const run = (graph: GraphBuilder, collective: Collective | null, suffix: string): void => {
    if (collective === null || rest.ranks === 1) return;
    graph.after = [graph.collective({ ...rest, name: rest.name + suffix, collective, repeat: 1 })];
  };
  return {
    forward: (graph) => run(graph, forward, ''),
    backward: (graph, { input }) => input && run(graph, backward, ', gradient'),
  };
}

/** Useful and executed operations of a list of items; the latter include padding, recomputation and repeats. */
export function graphFlops(items: readonly GraphItem[]): { useful: Flops; hardware: Flops } {
  let useful = 0;
  let hardware = 0;
  for (const item of items) {
    if (item.type !== 'operator') continue;
    useful += item.flops;
    hardware += item.repeat * operatorWork(item.case).flops;
  }
  return { useful, hardware };
}
