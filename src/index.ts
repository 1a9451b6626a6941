/**
 * trnsim: a Trainium machine. Everything that the command line does is here, as functions on plain data.
 */
export { ModelError, type ModelErrorCode } from './base/errors.ts';
export { parseJson, toJson } from './base/json.ts';
export * from './base/units.ts';
// Collectives: schedules, algorithms, numbers.
export type { Algorithm, AlgorithmOptions } from './collectives/algorithms/algorithm.ts';
export { collectiveAlgorithms, collectivesOf } from './collectives/algorithms/registry.ts';
export { buildSchedule, ringAllReduce, type ScheduleOptions, whyNot } from './collectives/build.ts';
export { type BusyLink, busiestLinks, type ClockResult, executeClock, type LinkInterval } from './collectives/clock.ts';
export { reductionErrorBound } from './collectives/error-bound.ts';
export { algorithmBandwidth, busBandwidth, ringAllReduceTime } from './collectives/formula.ts';
export { circularPairs, stridedGroups } from './collectives/groups.ts';
export {
  type CollectiveRunOptions,
  executeNumeric,
  type NumericOptions,
  type Reduction,
  runCollective,
} from './collectives/numeric.ts';
export { type CollectiveProgram, programSchedule, verifyProgram } from './collectives/program.ts';
export { type CollectiveDefinition, referenceOutputs } from './collectives/reference.ts';
export {
  type Action,
  ADD,
  COLLECTIVES,
  COPY,
  type Collective,
  DUPLICATE,
  type RankRanges,
  type Schedule,
  type Transfers,
} from './collectives/schedule.ts';
export { type Effort, theoreticalEffort, theoryText } from './collectives/theory.ts';
export { type Traffic, trafficOf } from './collectives/traffic.ts';
export {
  ENGINES,
  type Engine,
  type OperatorCost,
  operatorCost,
  type RankEngines,
  rankEngines,
} from './core/engines.ts';
export { type Operator, type OperatorKind, operatorFlops } from './core/operator.ts';
export { ringOrder } from './fabric/rings.ts';
export { hops, route } from './fabric/routes.ts';
export { buildTopology, type LinkRate, linkName, type Topology } from './fabric/topology.ts';
export { parseMsccl } from './formats/msccl.ts';
export { type Counter, type Slice, type Timeline, type Track, writePerfetto } from './formats/perfetto.ts';
export { parseScheduleJson } from './formats/schedule-json.ts';
export {
  type CatalogueEntry,
  catalogueEntry,
  chipFromJson,
  chips,
  defaultPrice,
  facility,
  findChip,
  findSystem,
  prices,
  systemFromJson,
  systems,
} from './hardware/catalog.ts';
export type * from './hardware/spec.ts';
export * from './kernels/index.ts';
export { createMachine, type Machine, placeInHbm, type RankOptions } from './machine/machine.ts';
export {
  type DecoderConfig,
  type ModelFamily,
  parseModelConfig,
  parseModelText,
  type RopeScaling,
} from './models/config.ts';
export {
  type LayerShard,
  type LayerStep,
  layerSteps,
  rankWeights,
  shardLayer,
  type WeightBlock,
} from './models/layer.ts';
export { type ParameterCounts, parameterCounts } from './models/parameters.ts';
export { findEntryOfAny, findModel, type ModelPreset, modelEntry, models } from './models/presets.ts';
export { chipsReport, entryReport, modelsReport, systemsReport } from './report/catalogue.ts';
export { significant } from './report/numbers.ts';
export { runReport } from './report/run.ts';
export { type Column, table } from './report/table.ts';
export {
  type BreakdownRow,
  errorBound,
  type LayerRun,
  type RunOptions,
  type RunResult,
  runLayer,
} from './workloads/run.ts';
