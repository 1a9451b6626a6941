/**
 * trnsim: a Trainium machine. Everything that the command line does is here, as functions on plain data.
 */
export { ModelError, type ModelErrorCode } from './base/errors.ts';
export { parseJson, toJson } from './base/json.ts';
export * from './base/units.ts';
export { type BusyLink, busiestLinks, type ClockResult, executeClock, type LinkInterval } from './collectives/clock.ts';
export { algorithmBandwidth, busBandwidth, ringAllReduceTime } from './collectives/formula.ts';
export { executeNumeric } from './collectives/numeric.ts';
export { ringAllReduce } from './collectives/ring.ts';
export { bytesReceived, bytesSent, type Collective, type Schedule, totalBytes } from './collectives/schedule.ts';
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
export { type Counter, type Slice, type Timeline, type Track, writePerfetto } from './formats/perfetto.ts';
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
export {
  type Constants,
  type FittedConstant,
  type FittedLayer,
  fittedConstants,
  fittedList,
} from './hardware/fitted.ts';
export type * from './hardware/spec.ts';
export * from './kernels/index.ts';
export { createMachine, type Machine, placeInHbm, type RankOptions } from './machine/machine.ts';
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
