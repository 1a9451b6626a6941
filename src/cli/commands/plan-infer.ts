/** `trnsim plan --infer`: searches how to cut a model over all ranks of a machine, and which batch to run. */
import { InvalidArgumentError, Option } from 'commander';
import {
  createCluster,
  type InferenceObjective,
  type InferencePlanAnswer,
  type InferenceRow,
  InferenceSearch,
  type InferenceSpace,
  inferenceFront,
  inferencePlanReport,
  rankInference,
  toJson,
} from '../../index.ts';
import { given, one, wholeNumberOf } from '../arguments.ts';
import { loadSystem, type RankFlags } from '../machines.ts';
import { progressBar } from '../progress.ts';
import { type WorkloadFlags, workload, workloadOptions } from './infer.ts';

/** As parsed: flags that searches share can come as lists. */
export interface InferPlanFlags
  extends Omit<WorkloadFlags, 'model' | 'input' | 'output'>,
    RankFlags,
    Partial<Record<keyof InferenceSpace, readonly string[]>> {
  readonly infer?: boolean;
  readonly model?: string | readonly string[];
  readonly system?: string | readonly string[];
  readonly input?: number;
  readonly output?: number;
  readonly nodes?: readonly string[];
  readonly maxTtft?: number;
  readonly maxTpot?: number;
  readonly objective: 'throughput' | 'cost' | 'latency';
  readonly keep: number;
  readonly json?: boolean;
}

/** Flags that can hold several values to try. */
const AXES: readonly (keyof InferenceSpace)[] = ['tp', 'pp', 'cp', 'ep', 'batch'];
/** 128 + SIGINT, as shells report it. */
const INTERRUPTED = 130;
/** On one machine the cheapest token is that of the highest throughput. */
const OBJECTIVES: Readonly<Record<InferPlanFlags['objective'], InferenceObjective>> = {
  throughput: 'throughput',
  cost: 'throughput',
  latency: 'tpot',
};

/**
 * Searches cut by cut. Ctrl-C ends the search, not the command: the answer is of the cuts gone through, `complete` is false.
 * @throws RangeError for a flag out of range, or several models, systems or lengths
 */
export async function runInferPlan(flags: InferPlanFlags): Promise<void> {
  const { maxTtft, maxTpot, objective, keep, json = false } = flags;
  if (!(keep >= 1 && keep <= 1000)) throw new RangeError(`"keep" expected 1..1000, got ${keep}`);
  const cluster = createCluster(loadSystem(one('system', 'infer', flags.system)), {
    ...(flags.nodes !== undefined && { nodes: wholeNumberOf('nodes', one('nodes', 'infer', flags.nodes)) }),
    ...given(flags, ['rank', 'lnc']),
  });
  const space = Object.fromEntries(
    AXES.flatMap((axis) => {
      const values = flags[axis];
      return values === undefined ? [] : [[axis, values.map((text) => wholeNumberOf(axis, text))]];
    }),
  ) as InferenceSpace;
  // Lists and numbers come from flags that other questions of `plan` define: a search takes one of each.
  const options = workload({
    ...flags,
    model: one('model', 'infer', flags.model),
    input: one('input', 'infer', flags.input),
    output: one('output', 'infer', flags.output),
  });
  const search = new InferenceSearch(cluster, options, space);
  let isStopped = false;
  const stop = () => {
    isStopped = true;
  };
  process.once('SIGINT', stop);
  const bar = progressBar('cuts', !json);
  for (const [done, cut] of search.cuts.entries()) {
    // Lets a signal in.
    await new Promise((resolve) => setImmediate(resolve));
    if (isStopped) break;
    search.evaluate(cut);
    bar.update({ done: done + 1, total: search.cuts.length });
  }
  bar.end();
  process.off('SIGINT', stop);
  const limits = {
    ...(maxTtft !== undefined && { ttftNs: 1e6 * maxTtft }),
    ...(maxTpot !== undefined && { tpotNs: 1e6 * maxTpot }),
  };
  const within = rankInference(search.rows, OBJECTIVES[objective], limits);
  const answer = {
    schemaVersion: 1 as const,
    fidelity: 'formula' as const,
    model: options.model.name,
    system: cluster.system.id,
    nodes: cluster.nodes,
    ranks: cluster.ranks,
    objective,
    complete: !isStopped,
    cuts: search.cuts.length,
    spaceSize: search.tried,
    refused: search.refused,
    withinLimits: within.length,
    least: leastTimes(search.rows),
    plans: within.slice(0, keep).map((row, index) => ({ rank: index + 1, ...row })),
    pareto: inferenceFront(within),
  };
  process.stdout.write(json ? toJson(answer) : inferencePlanReport(answer));
  if (isStopped) process.exitCode = INTERRUPTED;
}

/** What the limits would have to allow: the least times of any plan, not of one and the same. */
function leastTimes(rows: readonly InferenceRow[]): InferencePlanAnswer['least'] {
  if (rows.length === 0) return null;
  const least = (key: 'ttftNs' | 'tpotNs'): number => rows.reduce((low, row) => Math.min(low, row[key]), Infinity);
  return { ttftNs: least('ttftNs'), tpotNs: least('tpotNs') };
}

const milliseconds = (text: string): number => {
  const value = Number(text);
  if (!(value > 0 && value < 1e12)) throw new InvalidArgumentError('Expected milliseconds above 0.');
  return value;
};

/** What the search has beside the flags of other searches. */
export function inferSearchOptions(): Option[] {
  return [
    new Option('--infer', 'search plans of inference'),
    new Option('--batch <list>', 'sequences of all replicas to try; several with commas').argParser((text) =>
      text.split(','),
    ),
    new Option('--max-ttft <ms>', 'most time to the first token').argParser(milliseconds),
    new Option('--max-tpot <ms>', 'most time per output token').argParser(milliseconds),
    ...workloadOptions(),
  ];
}
