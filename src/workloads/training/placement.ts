/**
 * Where the groups of each dimension lie. Ranks are numbered through the dimensions from the inside out; tensor parallelism,
 * which talks most, is always innermost, so that its ranks share a chip, then a node. The order of the others is free:
 * `tp-cp-dp-pp` keeps replicas close and sends activations far, `tp-pp-cp-dp` the reverse.
 *
 * Experts are spread over consecutive ranks of the tensor, context and data dimensions, so these have to be neighbours.
 * see: Megatron-LM, parallel_state.py, `order`.
 */
import type { RankGroup } from '../../collectives/cost.ts';
import type { TrainingPlan } from '../../models/memory.ts';

export const PLACEMENTS = [
  'tp-cp-dp-pp',
  'tp-cp-pp-dp',
  'tp-pp-cp-dp',
  'tp-dp-cp-pp',
  'tp-dp-pp-cp',
  'tp-pp-dp-cp',
] as const;
export type Placement = (typeof PLACEMENTS)[number];

type Degrees = Pick<TrainingPlan, 'tp' | 'cp' | 'dp' | 'pp'>;
type Cut = 'cp' | 'dp' | 'pp';

const NAMES: readonly Cut[] = ['cp', 'dp', 'pp'];
/** For each placement the dimensions of degree > 1 that lie inside of cp, dp and pp. */
const INSIDE: ReadonlyMap<Placement, Readonly<Record<Cut, readonly Cut[]>>> = new Map(
  PLACEMENTS.map((placement) => {
    const order = placement.split('-').slice(1) as Cut[];
    const inside = (name: Cut) => order.slice(0, order.indexOf(name));
    return [placement, { cp: inside('cp'), dp: inside('dp'), pp: inside('pp') }];
  }),
);

/** Distance between neighbours of a dimension. */
export function strideOf(placement: Placement, degrees: Degrees, dimension: Cut): number {
  const inside = INSIDE.get(placement)![dimension];
  let stride = degrees.tp;
  for (let i = 0; i < inside.length; i++) stride *= degrees[inside[i]!];
  return stride;
}

/**
 * The ranks that hold the same weights, data x context parallelism: one group where the two are neighbours; otherwise two
 * levels, the inner one first.
 */
export function replicaGroups(placement: Placement, degrees: Degrees): RankGroup[] {
  const { cp, dp } = degrees;
  const strides = { cp: strideOf(placement, degrees, 'cp'), dp: strideOf(placement, degrees, 'dp') };
  const [inner, outer] = strides.cp <= strides.dp ? (['cp', 'dp'] as const) : (['dp', 'cp'] as const);
  const groups = [
    { ranks: degrees[inner], stride: strides[inner] },
    { ranks: degrees[outer], stride: strides[outer] },
  ].filter(({ ranks }) => ranks > 1);
  const [near, far] = groups;
  if (near === undefined || far === undefined) return groups;
  return near.stride * near.ranks === far.stride ? [{ ranks: cp * dp, stride: near.stride }] : groups;
}

/** Whether experts can be spread over `ep` ranks: the pipeline dimension must not lie between those. */
export function holdsExperts(placement: Placement, degrees: Degrees, expertRanks: number): boolean {
  let inside = degrees.tp;
  const order = NAMES.slice().sort((a, b) => INSIDE.get(placement)![a].length - INSIDE.get(placement)![b].length);
  for (const name of order) {
    if (expertRanks <= inside) return true;
    if (name === 'pp' && degrees.pp > 1) return false;
    inside *= degrees[name];
  }
  return expertRanks <= inside;
}
