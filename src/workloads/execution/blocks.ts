/** What the ranks hold, put together: whole matrices from their blocks, and whether copies are equal. */
import type { Executor } from './executor.ts';
import type { Bucket, ParameterBlock } from './parameters.ts';

export interface WholeMatrix {
  readonly name: string;
  readonly isBias: boolean;
  readonly rows: number;
  readonly columns: number;
  readonly values: Float32Array;
}

/** The matrices of a bucket from the blocks of the first data-parallel replica, weights or gradients. */
export function wholeMatrices(executor: Executor, bucket: Bucket, what: 'weights' | 'gradients'): WholeMatrix[] {
  const { tp } = executor.step.program;
  const matrices = bucket.blocks(0).map(({ weight, totalRows, totalColumns }): WholeMatrix => {
    const values = new Float32Array(totalRows * totalColumns);
    return {
      name: `${weight} of ${bucket.name}`,
      isBias: weight.endsWith('Bias'),
      rows: totalRows,
      columns: totalColumns,
      values,
    };
  });
  for (let rank = 0; rank < tp; rank++) {
    const values = executor.tensor(bucket[what], rank).toFloat32();
    forEachBlock(bucket.blocks(rank), (block, offset, i) => {
      const { rows, columns, row, column, totalColumns } = block;
      for (let r = 0; r < rows; r++) {
        const from = values.subarray(offset + r * columns, offset + (r + 1) * columns);
        matrices[i]!.values.set(from, (row + r) * totalColumns + column);
      }
    });
  }
  return matrices;
}

function forEachBlock(
  blocks: readonly ParameterBlock[],
  visit: (block: ParameterBlock, offset: number, index: number) => void,
): void {
  let offset = 0;
  blocks.forEach((block, i) => {
    visit(block, offset, i);
    offset += block.rows * block.columns;
  });
}

/** Whether all data-parallel replicas hold the same bytes, and all ranks of a group the same norms. */
export function replicasAgree(executor: Executor, what: 'weights' | 'gradients'): boolean {
  const { tp, dp } = executor.step.program;
  return executor.buckets().every((bucket) => {
    const bytesOf = (rank: number): Uint8Array => executor.tensor(bucket[what], rank).bytesView();
    for (let rank = tp; rank < tp * dp; rank++) {
      const own = bytesOf(rank);
      const other = bytesOf(rank % tp);
      if (!own.every((byte, i) => byte === other[i])) return false;
    }
    return groupAgrees(executor, bucket, what);
  });
}

/** Blocks that lie at the same place of their matrix on several ranks of the first group. */
function groupAgrees(executor: Executor, bucket: Bucket, what: 'weights' | 'gradients'): boolean {
  const seen = new Map<string, Float32Array>();
  for (let rank = 0; rank < executor.step.program.tp; rank++) {
    const values = executor.tensor(bucket[what], rank).toFloat32();
    let agrees = true;
    forEachBlock(bucket.blocks(rank), ({ weight, row, column, rows, columns }, offset) => {
      const own = values.subarray(offset, offset + rows * columns);
      const key = `${weight} ${row} ${column}`;
      const other = seen.get(key);
      if (other === undefined) seen.set(key, own);
      else agrees &&= own.every((value, i) => Object.is(value, other[i]));
    });
    if (!agrees) return false;
  }
  return true;
}
