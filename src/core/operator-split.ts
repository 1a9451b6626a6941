/**
 * How the cores of a rank share an operator: by what is independent, so that no core waits for another.
 *
 *     matmuls       columns and rows of the result, the pair that leaves the slowest core the fewest tiles, then the least traffic
 *     batches       the batch first; attention: batch, groups of heads, heads of a group, then queries
 *     rows          128 at a time, as they lie over the partitions; element-wise operators by elements
 *     gated MLP     rows if there are enough, else the inner width, whose partial sums the cores add in HBM
 *
 * Leaves out: the sum of those partial results, and the merge of split keys in decoding.
 */
import type { OperatorCase } from './operator-case.ts';

/** A share of the operator, and how many cores have one like it. */
export interface Share {
  readonly operator: OperatorCase;
  readonly cores: number;
}

/** Sizes of the parts when `size` falls to at most `parts` in units of `unit`: size, count. */
export function partsOf(size: number, parts: number, unit: number = 1): (readonly [size: number, count: number])[] {
  const units = Math.ceil(size / unit);
  const used = Math.min(parts, units);
  const least = Math.floor(units / used);
  const larger = units - least * used;
  // The last part is short by what the last unit lacks.
  const lack = units * unit - size;
  const counts = new Map<number, number>();
  const add = (length: number, count: number) => {
    if (count > 0) counts.set(length, (counts.get(length) ?? 0) + count);
  };
  add((least + 1) * unit, larger);
  add(least * unit, used - larger - 1);
  add(least * unit - lack, used === larger ? 0 : 1);
  return [...counts];
}

const TILE = 128;
const COLUMNS = 512;

/** The shares of `cores` cores, the largest first. */
export function splitOperator(operator: OperatorCase, cores: number): Share[] {
  if (cores === 1) return [{ operator, cores: 1 }];
  const { op, dims } = operator;
  switch (op) {
    case 'matmul':
    case 'rmsnorm-matmul':
    case 'add-rmsnorm-matmul':
    case 'matmul-lora':
      return splitMatmul(operator, cores);
    case 'batched-matmul':
    case 'batched-matmul-softmax':
      return along(operator, cores, ['batch', 1], ['m', TILE]);
    case 'matmul-add-rmsnorm':
      return along(operator, cores, ['m', TILE]);
    case 'gated-mlp':
      return (dims.rows ?? 1) >= 2 * TILE * cores
        ? along(operator, cores, ['rows', TILE])
        : along(operator, cores, ['ffn', TILE]);
    case 'attention':
      return splitAttention(operator, cores);
    case 'selective-scan':
    case 'depthwise-conv1d':
      return along(operator, cores, ['batch', 1], ['channels', TILE]);
    case 'gelu':
    case 'silu':
    case 'swiglu':
    case 'add':
    case 'adamw': {
      const flat = { ...operator, dims: { rows: 1, cols: (dims.rows ?? 1) * (dims.cols ?? 1) } };
      return along(flat, cores, ['cols', 1]);
    }
    case 'transpose':
      return along(operator, cores, [(dims.rows ?? 1) >= (dims.cols ?? 1) ? 'rows' : 'cols', TILE]);
    case 'softmax':
    case 'rmsnorm':
    case 'layernorm':
    case 'rope':
    case 'embedding':
      return along(operator, cores, ['rows', (dims.rows ?? 1) >= TILE * cores ? TILE : 1]);
    case 'dma-copy':
      return [{ operator, cores: 1 }];
  }
}

/** Cuts the first dimension, and where it is smaller than the number of cores, the next one with the cores of each part. */
function along(
  operator: OperatorCase,
  cores: number,
  [name, unit]: readonly [string, number],
  ...further: (readonly [string, number])[]
): Share[] {
  const size = operator.dims[name] ?? 1;
  const [next, ...rest] = further;
  const units = Math.ceil(size / unit);
  const each = next === undefined || units >= cores ? 1 : Math.floor(cores / units);
  return partsOf(size, cores, unit).flatMap(([length, count]) => {
    const share = { ...operator, dims: { ...operator.dims, [name]: length } };
    if (each === 1 || next === undefined) return [{ operator: share, cores: count }];
    return along(share, each, next, ...rest).map(({ operator: part, cores: used }) => ({
      operator: part,
      cores: used * count,
    }));
  });
}

function splitMatmul(operator: OperatorCase, cores: number): Share[] {
  const { m = 1, n = 1 } = operator.dims;
  let best = { overN: cores, overM: 1, tiles: Number.POSITIVE_INFINITY, traffic: Number.POSITIVE_INFINITY };
  for (let overM = 1; overM <= cores; overM++) {
    const overN = Math.floor(cores / overM);
    const rows = partsOf(m, overM, TILE)[0]![0];
    const columns = partsOf(n, overN, COLUMNS)[0]![0];
    const tiles = Math.ceil(rows / TILE) * columns;
    const traffic = rows + columns;
    if (tiles < best.tiles || (tiles === best.tiles && traffic < best.traffic)) best = { overN, overM, tiles, traffic };
  }
  return partsOf(m, best.overM, TILE).flatMap(([rows, countM]) =>
    partsOf(n, best.overN, COLUMNS).map(([columns, countN]) => ({
      operator: { ...operator, dims: { ...operator.dims, m: rows, n: columns } },
      cores: countM * countN,
    })),
  );
}

function splitAttention(operator: OperatorCase, cores: number): Share[] {
  const { batch = 1, heads = 1, seqQ = 1 } = operator.dims;
  const kvHeads = operator.dims.kvHeads ?? heads;
  if (batch >= cores) return along(operator, cores, ['batch', 1]);
  const each = Math.floor(cores / batch);
  const whole = { ...operator, dims: { ...operator.dims, batch: 1 } };
  const times = (shares: Share[]) => shares.map((share) => ({ ...share, cores: share.cores * batch }));
  const withHeads = (groups: number, sharing: number) => ({
    ...whole,
    dims: { ...whole.dims, kvHeads: groups, heads: groups * sharing },
  });
  const sharing = heads / kvHeads;
  if (kvHeads >= each) {
    return times(
      partsOf(kvHeads, each).map(([groups, count]) => ({ operator: withHeads(groups, sharing), cores: count })),
    );
  }
  const perGroup = Math.floor(each / kvHeads);
  return times(
    partsOf(sharing, perGroup).flatMap(([share, count]) => {
      const left = Math.floor(perGroup / Math.min(perGroup, sharing));
      const part = withHeads(1, share);
      const pieces =
        seqQ >= TILE ? along(left > 1 ? spread(part) : part, left, ['seqQ', TILE]) : along(part, left, ['seqKv', TILE]);
      return pieces.map(({ operator: piece, cores: used }) => ({
        operator: piece,
        cores: used * count * kvHeads,
      }));
    }),
  );
}

/** Under a causal mask the last queries see most: each core takes as many early as late ones, and sees the mean of the keys. */
function spread(operator: OperatorCase): OperatorCase {
  const { seqQ = 1, seqKv = 1 } = operator.dims;
  if (operator.causal !== true) return operator;
  return { ...operator, causal: false, dims: { ...operator.dims, seqKv: seqKv - Math.floor(seqQ / 2) } };
}
