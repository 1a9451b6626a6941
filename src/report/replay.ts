/** The text and the JSON rows of a replay; the lines are worded as ASTRA-sim's, so that scripts that read those go on working. */
import type { RankTime, ReplayResult } from '../workloads/replay/replay.ts';

/** Above this many ranks a row stands for all ranks that run alike: a million equal lines say nothing. */
const MAX_ROWS = 4096;

/** A row of the answer. `ranks` is there if it stands for more than one, `rank` being the first of them. */
export interface ReplayRow extends RankTime {
  readonly ranks?: number;
}

/** One row for each rank, or above 4096 ranks for each class of equal ones. */
export function replayRows(result: ReplayResult): ReplayRow[] {
  if (result.ranks <= MAX_ROWS) return Array.from({ length: result.ranks }, (_, rank) => result.rankTime(rank));
  return result.classes.map(({ size, ...row }) => ({ ...row, ranks: size }));
}

/** Report of `trnsim replay`; a cycle is 1 ns. */
export function replayReport(result: ReplayResult): string {
  const lines = replayRows(result).map(({ rank, ranks, timeNs, exposedCommNs }) => {
    const alike = ranks === undefined ? '' : ` and ${ranks - 1} ranks like it`;
    return `sys[${rank}]${alike} finished, ${timeNs} cycles, exposed communication ${exposedCommNs} cycles.\n`;
  });
  return lines.join('');
}
