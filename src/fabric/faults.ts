/**
 * Faults of a cluster, as plain data and as users write them:
 *
 *     chip3->chip4                  a dead link, this direction only; `<->` is both
 *     chip3<->chip4 slow 0.5        half of its bandwidth is left (also `50%`)
 *     chip3->tor lossy 1%           1 % of the packets are lost and sent again
 *     tor2->leaf(17) dead           one cable of a network's bundle
 *     chip 5 slow 0.8               a chip at 80 % of its speed
 *     rank 17 late 2us              a rank that begins late
 *
 * Lossy: a packet lost with probability p is sent 1 / (1 - p) times on average, so 1 - p of the bandwidth is goodput.
 * That is selective retransmission; going back n packets loses more. Leaves out: the time until a loss is noticed.
 * `applyFaults` (degrade.ts) is what they do to a cluster.
 */
import { show } from '../base/errors.ts';
import type { Seconds } from '../base/units.ts';

export type Fault =
  /** A directed link, by the names of its ends. `remaining` is what is left of its bandwidth: 0 is dead. */
  | { readonly type: 'link'; readonly from: string; readonly to: string; readonly remaining: number }
  /** A chip that computes and moves data at `speed` of its rate, 0 to 1. */
  | { readonly type: 'chip'; readonly chip: number; readonly speed: number }
  /** A rank that begins `late` after the others. */
  | { readonly type: 'rank'; readonly rank: number; readonly late: Seconds };

const LINK = /^(\S+?)(<->|->)(\S+?)(?:\s+(dead|slow|lossy)(?:\s+(\S+))?)?$/;
const CHIP = /^chip\s*(\d{1,9})\s+slow\s+(\S+)$/;
const RANK = /^rank\s*(\d{1,9})\s+late\s+(\S+)$/;
const SECONDS: Readonly<Record<string, Seconds>> = { s: 1, ms: 1e-3, us: 1e-6, ns: 1e-9 };

/**
 * The faults that `text` says: two for a link dead both ways.
 * @throws RangeError if it is none of the forms above
 */
export function parseFault(text: string): Fault[] {
  const trimmed = text.trim();
  const chip = CHIP.exec(trimmed);
  if (chip !== null) return [{ type: 'chip', chip: Number(chip[1]), speed: parsePart(text, chip[2]!) }];
  const rank = RANK.exec(trimmed);
  if (rank !== null) return [{ type: 'rank', rank: Number(rank[1]), late: parseTime(text, rank[2]!) }];
  const link = LINK.exec(trimmed);
  if (link === null) throw refusal(text, 'one such as "chip3->chip4", "chip 5 slow 0.8" or "rank 17 late 2us"');
  const [, from, arrow, to, kind = 'dead', amount] = link as unknown as [
    string,
    string,
    string,
    string,
    string?,
    string?,
  ];
  if ((kind === 'dead') !== (amount === undefined)) {
    throw refusal(text, kind === 'dead' ? 'nothing after "dead"' : `a number after "${kind}"`);
  }
  const part = amount === undefined ? 0 : parsePart(text, amount);
  const remaining = kind === 'lossy' ? 1 - part : part;
  const there: Fault = { type: 'link', from, to, remaining };
  return arrow === '->' ? [there] : [there, { type: 'link', from: to, to: from, remaining }];
}

/** A part of the whole: `0.8` or `80%`, more than 0 and less than 1. */
function parsePart(fault: string, text: string): number {
  const match = /^(\d{0,9}\.?\d{1,12})(%?)$/.exec(text);
  const part = match === null ? Number.NaN : Number(match[1]) / (match[2] === '%' ? 100 : 1);
  if (part > 0 && part < 1) return part;
  throw refusal(fault, `a part between 0 and 1, or 0% and 100%, not ${show(text)}`);
}

function parseTime(fault: string, text: string): Seconds {
  const match = /^(\d{0,9}\.?\d{1,12})(s|ms|us|ns)$/.exec(text);
  if (match !== null) return Number(match[1]) * SECONDS[match[2]!]!;
  throw refusal(fault, `a time such as 2us or 1.5ms, not ${show(text)}`);
}

function refusal(fault: string, expected: string): RangeError {
  return new RangeError(`"fault" expected ${expected}, got ${show(fault)}`);
}
