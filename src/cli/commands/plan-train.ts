/**
 * `trnsim plan --train`: searches the plans of a training job on one or several sizes of a cluster, with threads if asked.
 *
 * `--out` writes one JSON line for the job, then one for each unit of the space as it is done. Run again with the same job and
 * file, the units that are there are not searched again.
 */
import { existsSync, openSync, writeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { InvalidArgumentError, Option } from 'commander';
import {
  addUnit,
  defaultPrice,
  findSystem,
  NOTHING_FOUND,
  paretoFront,
  planReport,
  type RankedPlan,
  type SearchResult,
  type SearchState,
  SPACE_AXES,
  type SpaceOptions,
  searchLimit,
  searchResult,
  type TrainingJobOptions,
  type TrainingSearch,
  toJson,
  trainingSearch,
  UnitSearcher,
} from '../../index.ts';
import { one, wholeNumberOf } from '../arguments.ts';
import { checkWritable, readTextFile } from '../files.ts';
import type { UnitRequest } from '../plan-worker.ts';
import { type Progress, progressBar } from '../progress.ts';
import { type TrainingFlags, trainingJob } from './train.ts';

/** As parsed: `--model` and `--system` can come as lists from the flags that `plan` shares with other searches. */
export interface PlanFlags
  extends Omit<TrainingFlags, 'model' | 'system' | 'nodes'>,
    Partial<Record<keyof SpaceOptions, readonly string[]>> {
  readonly train?: boolean;
  readonly model?: string | readonly string[];
  readonly system?: string | readonly string[];
  readonly nodes?: readonly string[];
  readonly keep: number;
  /** On one cluster the step of least latency is that of the highest throughput. */
  readonly objective: 'throughput' | 'cost' | 'latency';
  readonly maxChips?: number;
  readonly maxPower?: number;
  readonly maxUsdPerHour?: number;
  readonly jobs?: number;
  readonly out?: string;
}

/** Axes whose values are numbers; the others are names, which the library checks. */
const NUMERIC_AXES: readonly (keyof SpaceOptions)[] = ['tp', 'pp', 'cp', 'ep', 'microBatch', 'interleave', 'zero'];
/** Each thread has tables of its own: more threads than this take memory rather than time. */
const MOST_JOBS = 64;
const MOST_LINES_BYTES = 2 ** 28;
/** 128 + SIGINT, as shells report it. */
const INTERRUPTED = 130;

/** The job and the axes that the flags fix, on `nodes` systems, or as many as the flags say. */
export function searchJob(
  flags: PlanFlags,
  nodes: number | null,
): { readonly job: TrainingJobOptions; readonly space: SpaceOptions } {
  const { model, system, nodes: _, ...rest } = flags;
  const job = trainingJob({
    ...rest,
    model: one('model', 'train', model),
    system: one('system', 'train', system),
    ...(nodes !== null && { nodes }),
  });
  const axes = SPACE_AXES.flatMap((axis) => {
    const values = flags[axis];
    if (values === undefined) return [];
    return [[axis, NUMERIC_AXES.includes(axis) ? values.map((text) => wholeNumberOf(axis, text)) : values]];
  });
  return { job, space: Object.fromEntries(axes) as SpaceOptions };
}

/** Sizes of the cluster within the limits. */
function nodeCounts(flags: PlanFlags): (number | null)[] {
  const { maxChips, maxPower, maxUsdPerHour } = flags;
  const counts = (flags.nodes ?? []).map((text) => wholeNumberOf('nodes', text));
  const isLimited = maxChips !== undefined || maxPower !== undefined || maxUsdPerHour !== undefined;
  if (counts.length === 0 && !isLimited) return [null];
  const system = findSystem(one('system', 'train', flags.system));
  const price = defaultPrice(system.id)?.usdPerHour ?? null;
  if (maxUsdPerHour !== undefined && price === null) {
    throw new RangeError(`"max-usd-per-hour" expected a system with a public price, got ${system.id}`);
  }
  if (maxPower !== undefined && system.power === null) {
    throw new RangeError(`"max-power" expected a system with a published power, got ${system.id}`);
  }
  const most = Math.floor(
    Math.min(
      (maxChips ?? Infinity) / system.chips,
      maxPower === undefined ? Infinity : (1e3 * maxPower) / system.power!,
      maxUsdPerHour === undefined ? Infinity : maxUsdPerHour / price!,
    ),
  );
  // Without a list: the powers of two up to the limit.
  const wanted = counts.length > 0 ? counts : Array.from({ length: 24 }, (_, power) => 1 << power);
  const within = wanted.filter((count) => count <= most);
  if (within.length === 0) throw new RangeError(`"nodes" expected at most ${most} within the limits, got none`);
  return within;
}

/** What was done before, by unit, and where to write what is done now. */
class Journal {
  readonly done = new Map<number, { fitting: number; best: RankedPlan[] }>();
  readonly #file: number | null;

  constructor(path: string | undefined, header: object) {
    if (path === undefined) {
      this.#file = null;
      return;
    }
    checkWritable(path);
    const first = JSON.stringify(header);
    const isThere = existsSync(path);
    if (isThere) this.#read(path, first);
    this.#file = openSync(path, 'a');
    if (!isThere || this.#isEmpty) writeSync(this.#file, `${first}\n`);
  }

  #isEmpty = false;

  #read(path: string, first: string): void {
    const text = readTextFile(path, MOST_LINES_BYTES);
    this.#isEmpty = text === '';
    if (this.#isEmpty) return;
    const [header, ...lines] = text.split('\n');
    if (header !== first) throw new RangeError(`"out" expected a file of this job, got one of another: ${path}`);
    for (const line of lines) {
      try {
        const { unit, fitting, best } = JSON.parse(line) as { unit: number; fitting: number; best: RankedPlan[] };
        if (Number.isInteger(unit) && Array.isArray(best)) this.done.set(unit, { fitting, best });
      } catch {
        // The line that an interrupted run did not finish.
      }
    }
  }

  add(unit: number, fitting: number, best: readonly RankedPlan[]): void {
    if (this.#file !== null) writeSync(this.#file, `${JSON.stringify({ unit, fitting, best })}\n`);
  }
}

/** What the search of one cluster size works with. */
interface Run {
  readonly search: TrainingSearch;
  readonly keep: number;
  readonly journal: Journal;
  readonly bar: Progress;
  readonly stop: { isAsked: boolean };
}

/** Hands the units out to `workers`, or searches them here. */
async function runSearch(run: Run, flags: PlanFlags, nodes: number | null, jobs: number): Promise<SearchState> {
  const { search, keep, journal, bar, stop } = run;
  let state = NOTHING_FOUND;
  const todo: number[] = [];
  search.units.forEach((_, unit) => {
    const known = journal.done.get(unit);
    if (known === undefined) todo.push(unit);
    else state = addUnit(state, { ...known, evaluated: 0 }, keep);
  });
  const finish = (unit: number, result: ReturnType<UnitSearcher['search']>): void => {
    state = addUnit(state, result, keep);
    journal.add(unit, result.fitting, result.best);
    bar.update({ done: state.units, total: search.units.length });
  };
  if (jobs === 1 || todo.length < 2) {
    const searcher = new UnitSearcher(search.setup);
    for (const unit of todo) {
      // Lets a signal in.
      await new Promise((resolve) => setImmediate(resolve));
      if (stop.isAsked) break;
      finish(unit, searcher.search(search.units[unit]!, unit, keep, searchLimit(state, keep)));
    }
    return state;
  }
  const file = new URL('../plan-worker.js', import.meta.url);
  const workers = Array.from(
    { length: Math.min(jobs, todo.length) },
    () => new Worker(file, { workerData: { flags, nodes } }),
  );
  try {
    await Promise.all(
      workers.map((worker) => drive(worker, todo, search, stop, () => searchLimit(state, keep), keep, finish)),
    );
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  return state;
}

/** Gives one worker unit after unit: of the tensor parallelism that it has tables for, while there are such. */
function drive(
  worker: Worker,
  todo: number[],
  { units }: TrainingSearch,
  stop: Run['stop'],
  limit: () => number,
  keep: number,
  finish: (unit: number, result: ReturnType<UnitSearcher['search']>) => void,
): Promise<void> {
  const tpOf = (unit: number): number => units[unit]!.plans[0]!.tp;
  let tp: number | undefined;
  return new Promise((resolve, reject) => {
    const next = (): void => {
      if (stop.isAsked || todo.length === 0) {
        resolve();
        return;
      }
      const same = todo.findIndex((unit) => tpOf(unit) === tp);
      // Otherwise of the one with most units left, which is least likely to be another worker's.
      const unit = todo.splice(same >= 0 ? same : mostLeft(todo, tpOf), 1)[0]!;
      tp = tpOf(unit);
      // The limit is read when the unit is handed out: every plan found since lets the worker drop more.
      worker.postMessage({ unit, keep, limit: limit() } satisfies UnitRequest);
    };
    worker.on('error', reject);
    worker.on('message', ({ unit, result, error }) => {
      if (error !== undefined) return reject(new Error(error));
      finish(unit, result);
      next();
    });
    next();
  });
}

function mostLeft(todo: readonly number[], tpOf: (unit: number) => number): number {
  const left = new Map<number, number>();
  for (const unit of todo) left.set(tpOf(unit), (left.get(tpOf(unit)) ?? 0) + 1);
  return todo.reduce((best, unit, at) => (left.get(tpOf(unit))! > left.get(tpOf(todo[best]!))! ? at : best), 0);
}

/**
 * Searches every cluster size, orders all plans together, and prints the best. Ctrl-C ends the search and prints what was
 * found; the exit code says so.
 * @throws RangeError for a flag out of range, or `--out` with several sizes
 */
export async function runTrainPlan(flags: PlanFlags): Promise<void> {
  const { json = false, objective } = flags;
  if (!(flags.keep >= 1 && flags.keep <= 1000)) throw new RangeError(`"keep" expected 1..1000, got ${flags.keep}`);
  const jobs = flags.jobs ?? Math.min(availableParallelism(), 8);
  if (!(jobs >= 1 && jobs <= MOST_JOBS)) throw new RangeError(`"jobs" expected 1..${MOST_JOBS}, got ${jobs}`);
  const stop = { isAsked: false };
  const interrupt = () => {
    stop.isAsked = true;
  };
  process.once('SIGINT', interrupt);
  const counts = nodeCounts(flags);
  if (flags.out !== undefined && counts.length > 1)
    throw new RangeError('"out" expected one number of nodes, got several');
  const results: SearchResult[] = [];
  try {
    for (const nodes of counts) {
      const { job, space } = searchJob(flags, nodes);
      const search = trainingSearch(job, space);
      // What makes the job what it is, and small enough for a line: a journal with another header is of another job.
      const { cluster: _, constants: __, ...described } = search.setup;
      const header = {
        schemaVersion: 1,
        system: search.setup.cluster.system.id,
        ranks: search.setup.cluster.ranks,
        keep: flags.keep,
        ...described,
        space: search.space,
      };
      const bar = progressBar('plans', !json);
      const run = { search, keep: flags.keep, journal: new Journal(flags.out, header), bar, stop };
      const state = await runSearch(run, flags, nodes, jobs);
      bar.end();
      results.push(searchResult(search, state));
      if (stop.isAsked) break;
    }
  } finally {
    process.off('SIGINT', interrupt);
  }
  // A system without a public price comes last by cost.
  const cost = (row: SearchResult['plans'][number]) => row.costPerMTokUsd ?? Infinity;
  const plans = results
    .flatMap((result) => result.plans)
    .sort((a, b) => (objective === 'cost' ? cost(a) - cost(b) : b.tokensPerS - a.tokensPerS))
    .slice(0, flags.keep)
    .map((row, index) => ({ ...row, rank: index + 1 }));
  const answer = {
    schemaVersion: 1 as const,
    fidelity: 'formula' as const,
    objective,
    plans,
    pareto: paretoFront(plans),
    searches: results,
  };
  process.stdout.write(json ? toJson(answer) : planReport(answer));
  if (stop.isAsked) process.exitCode = INTERRUPTED;
}

const list = (text: string): string[] => text.split(',');
const positive = (text: string): number => {
  const value = Number(text);
  if (!(value > 0 && value < 1e15)) throw new InvalidArgumentError('Expected a number above 0.');
  return value;
};

/** What the search adds to the flags of a job. */
export function searchOptions(): Option[] {
  const axis = (name: string, text: string) =>
    new Option(`--${name} <list>`, `${text}; several with commas`).argParser(list);
  const limit = (name: string, text: string) => new Option(`--${name} <n>`, text).argParser(positive);
  return [
    new Option('--train', 'search plans of a training job'),
    axis('nodes', 'systems; with a limit and no list the powers of two below it'),
    axis('tp', 'tensor parallelism to try'),
    axis('pp', 'pipeline parallelism to try'),
    axis('cp', 'context parallelism to try'),
    axis('ep', 'expert parallelism to try'),
    axis('micro-batch', 'sequences of a micro-batch to try'),
    axis('interleave', 'chunks of a stage to try'),
    axis('recompute', 'recomputation to try: none, selective, full'),
    axis('zero', 'stages of ZeRO to try'),
    axis('schedule', 'schedules to try: gpipe, 1f1b, interleaved, zb-h1, dualpipe'),
    axis('placement', 'placements to try (default: tp-cp-dp-pp)'),
    axis('cp-mode', 'ring, all-to-all (default: ring)'),
    new Option('--keep <n>', 'plans to list').argParser(positive).default(10),
    new Option('--objective <what>', 'to order by').choices(['throughput', 'cost', 'latency']).default('throughput'),
    limit('max-chips', 'most chips'),
    limit('max-power', 'most kW of the systems'),
    limit('max-usd-per-hour', 'most dollars an hour of the systems'),
    limit('jobs', 'threads (default: as many as there are processors, at most 8)'),
    new Option('--out <file>', 'write JSON lines as the search goes on, and go on from those that are there'),
  ];
}
