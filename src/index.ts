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
export { algorithmBandwidth, busBandwidth, ringAllReduceTime } from './collectives/formula.ts';
export { circularPairs, stridedGroups } from './collectives/groups.ts';
export {
  type CollectiveRunOptions,
  executeNumeric,
  type NumericOptions,
  type Reduction,
  runCollective,
} from './collectives/numeric.ts';
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
export {
  type ClusterClasses,
  clusterClasses,
  fabricClasses,
  type LinkClass,
  linkClasses,
  type NodeClass,
  nodeClasses,
  type RankClass,
  rankClasses,
} from './fabric/classes.ts';
export {
  appendClosRoute,
  buildClos,
  type Clos,
  type ClosSize,
  type ClosTier,
  type ClosTierSize,
  closLinks,
  closSize,
  closStage,
  meetingTier,
} from './fabric/clos.ts';
export {
  appendClusterRoute,
  type Cluster,
  clusterLinks,
  clusterPathCount,
  linkBandwidth,
  linkLatency,
  longestClusterRoute,
  nodeTopology,
} from './fabric/cluster.ts';
export { applyFaults, degradeTopology } from './fabric/degrade.ts';
export { type Fault, parseFault } from './fabric/faults.ts';
export { edgeDisjointRings, ringBandwidth } from './fabric/hamiltonian.ts';
export { hypercubeOrder } from './fabric/hypercube.ts';
export { type FabricMetrics, fabricMetrics, networkBisection } from './fabric/metrics.ts';
export { clusterLinkName, findLinks, type NamedLink } from './fabric/names.ts';
export { ringOrder } from './fabric/rings.ts';
export { appendRoute, hops, longestRoute, pathCount, type Route, route, routes } from './fabric/routes.ts';
export { buildTopology, type LinkRate, linkName, type Topology } from './fabric/topology.ts';
export { type Counter, type Slice, type Timeline, type Track, writePerfetto } from './formats/perfetto.ts';
export { alternativeNames, chooseAlternatives } from './hardware/alternatives.ts';
export {
  type CatalogueEntry,
  catalogueEntry,
  chipFromJson,
  chips,
  defaultPrice,
  fabricFromJson,
  facility,
  findChip,
  findNetwork,
  findSystem,
  networkFromJson,
  networks,
  prices,
  systemFromJson,
  systems,
  withAlternatives,
} from './hardware/catalog.ts';
export {
  type Constants,
  type FittedConstant,
  type FittedLayer,
  fittedConstants,
  fittedList,
} from './hardware/fitted.ts';
export type * from './hardware/spec.ts';
export * from './kernels/index.ts';
export { type ClusterOptions, createCluster } from './machine/cluster.ts';
export { createMachine, type Machine, placeInHbm } from './machine/machine.ts';
export type { RankOptions } from './machine/ranks.ts';
export { graphFlops } from './models/builder.ts';
export {
  type DecoderConfig,
  type ModelFamily,
  parseModelConfig,
  parseModelText,
  type RopeScaling,
} from './models/config.ts';
export { type OptimizerShare, optimizerGraph } from './models/edge-graph.ts';
export { parseModelSpec, parseModelSpecText } from './models/families.ts';
export { attentionPairs, caseFlops, type ModelFlops, modelFlops } from './models/flops.ts';
export { FORMAT_BYTES, formatsOf } from './models/formats.ts';
export type * from './models/graph.ts';
export {
  type LayerShard,
  type LayerStep,
  layerSteps,
  rankWeights,
  shardLayer,
  type WeightBlock,
} from './models/layer.ts';
export {
  embeddingGraph,
  type GraphPart,
  headGraph,
  type LayerPhase,
  layerGraph,
  modelGraph,
  partsFlops,
  stageBytes,
  stepOf,
} from './models/model-graph.ts';
export { type LayerParameters, type ParameterCounts, parameterCounts } from './models/parameters.ts';
export { findEntryOfAny, findModel, type ModelPreset, modelEntry, models } from './models/presets.ts';
export { parallelism } from './models/shard.ts';
export type * from './models/spec.ts';
export { chipsReport, entryReport, modelsReport, systemsReport } from './report/catalogue.ts';
export { significant } from './report/numbers.ts';
export { runReport } from './report/run.ts';
export { type Column, table } from './report/table.ts';
export { validationReport } from './report/validate.ts';
export {
  type CalibrateOptions,
  type Calibration,
  calibrate,
} from './validation/calibrate.ts';
export type * from './validation/measurement.ts';
export { MEASUREMENT_KINDS } from './validation/measurement.ts';
export { measurements, parseMeasurements } from './validation/schema.ts';
export {
  type ErrorSummary,
  type KindSummary,
  type PartSummary,
  type ValidatedConstant,
  type ValidatedRow,
  type ValidateOptions,
  type Validation,
  validate,
} from './validation/validate.ts';
export {
  type BreakdownRow,
  errorBound,
  type LayerRun,
  type RunOptions,
  type RunResult,
  runLayer,
} from './workloads/run.ts';
