/**
 * Every kernel that there is. Tests, benchmarks and `trnsim bench` are loops over these rows: a kernel that is added here
 * is tested and timed.
 */
import { collectiveRows } from './rows/collective.ts';
import { formatRows } from './rows/formats.ts';
import { layerRows } from './rows/layer.ts';
import { matmulRows } from './rows/matmul.ts';
import type { KernelRow } from './rows/row.ts';

export const kernelRegistry: readonly KernelRow[] = [...matmulRows, ...layerRows, ...collectiveRows, ...formatRows];
