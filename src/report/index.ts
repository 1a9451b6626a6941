/**
 * The text that the command line prints: one function a result. A report words a result and decides nothing: what it says can
 * be read from, or computed from, the JSON of the same verb.
 */
export { chipsReport, entryReport, modelsReport, systemsReport } from './catalogue.ts';
export { claimsMarkdown, claimsReport } from './claims.ts';
export { collectiveReport } from './collective.ts';
export { costsReport, fleetReport, goodputReport, rampReport } from './fleet.ts';
export { inferReport } from './infer.ts';
export { kernelReport } from './kernel.ts';
export { significant } from './numbers.ts';
export { pipelineSvg, pipelineText, pipelineTimeline } from './pipeline.ts';
export { type PlanAnswer, planReport } from './plan.ts';
export { type InferencePlanAnswer, inferencePlanReport } from './plan-infer.ts';
export { runReport } from './run.ts';
export { selfTestReport } from './selftest.ts';
export { type Column, table } from './table.ts';
export { planText, trainReport } from './train.ts';
export { trainingRunReport } from './training-run.ts';
export { validationReport } from './validate.ts';
