/** The text of a search of training plans: the space, the best plans, the front over cluster sizes, why the second lost. */
import type { PlanRow, SearchResult } from '../workloads/plan/result.ts';
import { formatBytes, formatTime, significant } from './numbers.ts';
import { table } from './table.ts';
import { planText } from './train.ts';

/** What `trnsim plan --train` prints as JSON: the best of all cluster sizes, and the search of each. */
export interface PlanAnswer {
  readonly objective: 'throughput' | 'cost' | 'latency';
  readonly plans: readonly PlanRow[];
  /** Plans that no other beats in both throughput and cost. */
  readonly pareto: readonly PlanRow[];
  readonly searches: readonly SearchResult[];
}

/** The axes that were searched, so that a reader sees what was not tried. */
function spaceText({ system, nodes, ranks, space, spaceSize, fitting, complete }: SearchResult): string {
  const axes = Object.entries(space)
    .map(([axis, values]) => `  ${axis.padEnd(11)} ${values.join(' ')}\n`)
    .join('');
  const done = complete ? '' : ', interrupted before all were gone through';
  return `${nodes} x ${system}, ${ranks} ranks: ${spaceSize} plans, ${fitting} fit into memory${done}\n${axes}`;
}

function rowsText(rows: readonly PlanRow[]): string {
  return table(rows, [
    { title: '', value: ({ rank }) => String(rank), align: 'right' },
    { title: 'nodes', value: ({ nodes }) => String(nodes), align: 'right' },
    { title: 'step', value: ({ stepTimeNs }) => formatTime(stepTimeNs), align: 'right' },
    { title: 'tokens/s', value: ({ tokensPerS }) => significant(tokensPerS), align: 'right' },
    { title: 'MFU', value: ({ mfu }) => (mfu === null ? '-' : `${(100 * mfu).toFixed(1)} %`), align: 'right' },
    { title: 'memory', value: ({ memoryBytes }) => formatBytes(memoryBytes), align: 'right' },
    {
      title: 'USD/Mtok',
      value: ({ costPerMTokUsd }) => (costPerMTokUsd === null ? '-' : significant(costPerMTokUsd)),
      align: 'right',
    },
    { title: 'plan', value: ({ plan }) => planText(plan) },
  ]);
}

/** Report of `trnsim plan --train`. */
export function planReport({ plans, pareto, searches }: PlanAnswer): string {
  const spaces = searches.map(spaceText).join('\n');
  if (plans.length === 0) return `${spaces}\nno plan fits into memory\n`;
  const why = searches.map(({ whySecondLost }) => (whySecondLost === null ? '' : `${whySecondLost}\n`)).join('');
  const front = pareto.length > 1 ? `\nthroughput against cost: none is better in both\n${rowsText(pareto)}` : '';
  return `${spaces}\n${rowsText(plans)}\n${why}${front}`;
}
