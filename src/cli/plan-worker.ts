/** A thread of `trnsim plan --train`: makes the job from the flags, as the main thread does, then searches units it is sent. */
import { parentPort, workerData } from 'node:worker_threads';
import { trainingSearch, UnitSearcher } from '../index.ts';
import { type PlanFlags, searchJob } from './commands/plan-train.ts';
import { sentence } from './errors.ts';

export interface UnitRequest {
  readonly unit: number;
  readonly keep: number;
  readonly limit: number;
}

const { flags, nodes } = workerData as { flags: PlanFlags; nodes: number | null };
const { job, space } = searchJob(flags, nodes);
const { setup, units } = trainingSearch(job, space);
const searcher = new UnitSearcher(setup);
parentPort!.on('message', ({ unit, keep, limit }: UnitRequest) => {
  try {
    parentPort!.postMessage({ unit, result: searcher.search(units[unit]!, unit, keep, limit) });
  } catch (error) {
    parentPort!.postMessage({ unit, error: sentence(error) });
  }
});
