/**
 * Money, power, failures and fleets: many machines over time. docs/fleet.md says how they hang together.
 *
 *     prices -> costs -> plan-costs                 what compute, bandwidth and tokens cost
 *     power, prices, serving -> fleet -> plan-fleet    a target as chips
 *     reliability -> goodput -> plan-goodput           what failures leave of a job
 *
 * Files called `plan-` answer a question of `trnsim plan` with plain JSON, units in the names; the others compute in SI units, hours
 * and dollars.
 */
export {
  breakEvenPrice,
  type CostMetric,
  type CostRow,
  capability,
  costRow,
  costTable,
  saving,
  type TrainingRun as CostedRun,
  type TrainingRun as TrainingRunCost,
  trainingRun,
  unitCost,
} from './costs.ts';
export {
  type Fleet,
  type FleetOptions,
  type FleetSum,
  type FleetTarget,
  sizeFleet,
  splitFleet,
  sumFleets,
} from './fleet.ts';
export type { FleetPlan } from './fleet-description.ts';
export {
  bestInterval,
  type CheckpointedJob,
  type ElasticJob,
  elasticGoodput,
  goodput,
  segmentTime,
  sparesFor,
  stragglerFactor,
} from './goodput.ts';
export {
  type SimulatedGoodput,
  type SimulationOptions,
  simulateElasticGoodput,
  simulateGoodput,
} from './goodput-simulation.ts';
export {
  type CostPlan,
  type CostPlanOptions,
  type CostPlanRow,
  planCosts,
  type TokenCost,
} from './plan-costs.ts';
export {
  type FleetPlanOptions,
  type FleetPlanResult,
  type MixResult,
  planFleet,
  type Workload,
} from './plan-fleet.ts';
export { type GoodputPlan, type GoodputPlanOptions, type GoodputRow, planGoodput } from './plan-goodput.ts';
export { bestMix, type Mix, type Portfolio, type Shock, type Supplier, shocked } from './portfolio.ts';
export {
  type ChipPower,
  chipPower,
  type Footprint,
  footprint,
  type PowerOptions,
  throttledSpeed,
} from './power.ts';
export {
  type ChipPrice,
  chipPrice,
  choosePrice,
  givenPrice,
  PRICE_BASES,
  type PriceBasis,
  type PriceQuery,
} from './prices.ts';
export { type Ramp, type RampOptions, ramp } from './ramp.ts';
export {
  componentMtbf,
  type FailureComponent,
  failureRate,
  findReliability,
  jobMtbf,
  type ReliabilityProfile,
  reliabilityFromJson,
  reliabilityProfiles,
} from './reliability.ts';
export { detourSlowdown, type ReroutedJob, reroutedGoodput } from './reroute.ts';
export {
  bestServing,
  type ServingOptions,
  type ServingPoint,
  servingRows,
  servingWithin,
} from './serving.ts';
export { bestTraining, type TrainingPoint, type TrainingWorkload } from './training.ts';
