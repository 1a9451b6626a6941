/** The text of a search of inference plans: the best ones, and those that nothing beats in throughput and latency. */
import type { InferenceRow } from '../workloads/inference/search.ts';
import { formatBytes, formatTime, significant } from './numbers.ts';
import { table } from './table.ts';

/** What `trnsim plan --infer` prints as JSON. */
export interface InferencePlanAnswer {
  readonly model: string;
  readonly system: string;
  readonly nodes: number;
  readonly ranks: number;
  readonly objective: string;
  /** False if it was interrupted: the counts are then of the cuts gone through. */
  readonly complete: boolean;
  /** Ways to cut the model; plans, of all batches; plans that do not fit or run; plans within the limits. */
  readonly cuts: number;
  readonly spaceSize: number;
  readonly refused: number;
  readonly withinLimits: number;
  /** The least of any plan, within the limits or not: what a limit can be; null if none runs. */
  readonly least: { readonly ttftNs: number; readonly tpotNs: number } | null;
  readonly plans: readonly InferenceRow[];
  readonly pareto: readonly InferenceRow[];
}

function rows(plans: readonly InferenceRow[]): string {
  const cut = ({ tp, pp, cp, dp, ep }: InferenceRow) =>
    Object.entries({ pp, cp, dp, ep }).reduce(
      (text, [name, degree]) => (degree > 1 ? `${text} ${name} ${degree}` : text),
      `tp ${tp}`,
    );
  return table(plans, [
    { title: 'tokens/s', value: (row) => significant(row.tokensPerS), align: 'right' },
    { title: 'first token', value: (row) => formatTime(row.ttftNs), align: 'right' },
    { title: 'each token', value: (row) => formatTime(row.tpotNs), align: 'right' },
    { title: 'batch', value: (row) => String(row.batch), align: 'right' },
    { title: 'memory', value: (row) => formatBytes(row.memoryBytes), align: 'right' },
    {
      title: 'USD/Mtok',
      value: (row) => (row.costPerMTokUsd === null ? '-' : significant(row.costPerMTokUsd)),
      align: 'right',
    },
    { title: 'plan', value: cut },
  ]);
}

/** Where the second plan loses to the best. */
function whyLost([best, second]: readonly InferenceRow[]): string {
  if (best === undefined || second === undefined) return '';
  const more = (name: string, ratio: number) =>
    `${significant(Math.abs(100 * (ratio - 1)))} % ${ratio >= 1 ? 'more' : 'less'} ${name}`;
  const parts = [
    more('tokens/s', second.tokensPerS / best.tokensPerS),
    more('time per token', second.tpotNs / best.tpotNs),
    more('time to the first token', second.ttftNs / best.ttftNs),
  ];
  return `the second has ${parts.join(', ')}\n`;
}

/** Whether nothing fits the machine, or nothing the limits, and then what they would have to allow. */
function whyNone({ least, complete }: InferencePlanAnswer): string {
  if (least === null) return complete ? 'no plan fits into memory and runs\n' : 'no plan was found until then\n';
  const [first, each] = [formatTime(least.ttftNs), formatTime(least.tpotNs)];
  return `no plan is within the limits: the least of any is ${first} to the first token, ${each} for each further token\n`;
}

/** Report of `trnsim plan --infer`. */
export function inferencePlanReport(answer: InferencePlanAnswer): string {
  const { model, system, nodes, ranks, cuts, spaceSize, refused, withinLimits, plans, pareto, complete } = answer;
  const where = nodes === 1 ? system : `${nodes} x ${system}`;
  const stopped = complete ? '' : ', interrupted before all were gone through';
  const title = `${model} on ${ranks} ranks of ${where}: ${cuts} cuts, ${spaceSize} plans, ${refused} that don't fit or run, ${withinLimits} within the limits${stopped}\n\n`;
  if (plans.length === 0) return title + whyNone(answer);
  const front = pareto.length > 1 ? `\nthroughput against latency: none is better in both\n${rows(pareto)}` : '';
  return `${title}${rows(plans)}\n${whyLost(plans)}${front}`;
}
