/** The text of a collective: nccom-test's table, what the links did, and on request why. */
import type { ExplainedPlan, ExplainedRound, Explanation } from '../collectives/explain.ts';
import type { CollectiveResult } from '../workloads/collective.ts';
import { formatBytes, formatTime, significant } from './numbers.ts';
import { table } from './table.ts';

/** Busiest links that are listed. */
const SHOWN_LINKS = 5;
/** Rounds of a formula that are written out. */
const SHOWN_ROUNDS = 3;
/** Candidates that are listed. */
const SHOWN_PLANS = 12;

/** Report of `trnsim collective`. */
export function collectiveReport(result: CollectiveResult, explanation?: Explanation): string {
  const { collective, group, ranks, system, nodes, fidelity } = result;
  const where = nodes === 1 ? system : `${nodes} x ${system}`;
  const who =
    group.ranks === ranks ? `${ranks} ranks` : `groups of ${group.ranks} of ${ranks} ranks, stride ${group.stride}`;
  const title = `${collective} over ${who} of ${where} (model: ${fidelity})\n\n`;
  const rows = table(result.results, [
    { title: 'size(B)', value: (row) => String(row['size(B)']), align: 'right' },
    { title: 'count(elems)', value: (row) => String(row['count(elems)']), align: 'right' },
    { title: 'type', value: (row) => row.type, align: 'right' },
    { title: 'time:avg(us)', value: (row) => row['time:avg(us)'].toFixed(2), align: 'right' },
    { title: 'algbw(GB/s)', value: (row) => row['algbw(GB/s)'].toFixed(2), align: 'right' },
    { title: 'busbw(GB/s)', value: (row) => row['busbw(GB/s)'].toFixed(2), align: 'right' },
  ]);
  const mean = result.results.reduce((sum, row) => sum + row['busbw(GB/s)'], 0) / result.results.length;
  const average = `Avg bus bandwidth: ${mean.toFixed(4)}GB/s\n\n`;
  const protocol = explanation === undefined ? '' : ` (${result.protocol})`;
  const chosen = `algorithm  ${result.algorithm}${protocol}, ${result.steps} steps\n`;
  return `${title}${rows}${average}${chosen}${totals(result)}${links(result)}${explanation ? why(explanation) : ''}`;
}

/** What the exchange draws and costs, or why nobody can say. */
function totals({ energyJ, energyReason, costUsd, costReason }: CollectiveResult): string {
  const energy = energyJ === null ? `unknown: ${energyReason}` : `${significant(energyJ)} J (${energyReason})`;
  const cost = costUsd === null ? `unknown: ${costReason}` : `${significant(costUsd)} USD (${costReason})`;
  return `energy     ${energy}\ncost       ${cost}\n`;
}

function links({ bottlenecks }: CollectiveResult): string {
  if (bottlenecks.length === 0) return '';
  const percent = (part: number): string => `${(100 * part).toFixed(1)} %`;
  const rows = table(bottlenecks.slice(0, SHOWN_LINKS), [
    { title: 'busiest', value: ({ name }) => name },
    { title: 'bytes', value: ({ bytes }) => formatBytes(bytes), align: 'right' },
    { title: 'busy', value: ({ busyNs }) => formatTime(busyNs), align: 'right' },
    { title: 'of the time', value: ({ utilization }) => percent(utilization), align: 'right' },
    { title: 'peak', value: ({ peakUtilization }) => percent(peakUtilization), align: 'right' },
  ]);
  return `\n${rows}`;
}

/** Why the plan was chosen: the candidates by time, their formulas, and the steps of the best. */
function why({ plans, reason }: Explanation): string {
  const candidates = table(plans.slice(0, SHOWN_PLANS), [
    { title: 'candidate', value: ({ name, protocol }) => `${name}, ${protocol}` },
    { title: 'steps', value: ({ steps }) => String(steps), align: 'right' },
    { title: 'time', value: ({ time }) => formatTime(1e9 * time), align: 'right' },
    { title: 'latency', value: ({ latencyShare }) => `${(100 * latencyShare).toFixed(0)} %`, align: 'right' },
    { title: 'formula, n bytes', value: formulaOf },
  ]);
  const more = plans.length > SHOWN_PLANS ? `... and ${plans.length - SHOWN_PLANS} more\n` : '';
  const best = plans[0]!;
  const steps = table(best.rounds, [
    { title: `steps of ${best.name}`, value: ({ level }) => (level === 'inside' ? 'inside nodes' : 'between nodes') },
    { title: 'count', value: ({ steps: count }) => String(count), align: 'right' },
    { title: 'sends a rank', value: ({ peers }) => String(peers), align: 'right' },
    { title: 'latency', value: ({ latency }) => formatTime(1e9 * latency), align: 'right' },
    { title: 'bytes at', value: ({ rate }) => formatRate(rate), align: 'right' },
  ]);
  return `\n${candidates}${more}\n${reason}\n${best.name}: ${best.summary}\n\n${steps}`;
}

/** `15.0 us + 62 (3.6 us + n / 1.3 TB/s) + ...` */
function formulaOf({ start, rounds }: ExplainedPlan): string {
  const shown = rounds.slice(0, SHOWN_ROUNDS).map(termOf);
  const rest = rounds.length - shown.length;
  return [formatTime(1e9 * start), ...shown, ...(rest > 0 ? [`${rest} more`] : [])].join(' + ');
}

function termOf({ steps, latency, rate }: ExplainedRound): string {
  const bytes = Number.isFinite(rate) ? ` + n / ${formatRate(rate)}` : '';
  return `${steps === 1 ? '' : `${steps} `}(${formatTime(1e9 * latency)}${bytes})`;
}

function formatRate(rate: number): string {
  if (!Number.isFinite(rate)) return '-';
  return rate >= 1e12 ? `${significant(rate / 1e12)} TB/s` : `${significant(rate / 1e9)} GB/s`;
}
