/**
 * Fits the constants of data/fitted.json to the measurements of data/validation and writes them back:
 *   npm run calibrate [-- --layer kernel|collective|llm] [--keep] [--dry-run]
 * Without --layer all layers, in the order in which one builds on the other; --keep leaves the values and computes their errors
 * only, after a model has changed. Reports on stderr. Fitting takes minutes.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { calibrate, measurements } from '../dist/index.js';

const LAYERS = ['kernel', 'collective', 'llm'];
const file = new URL('../data/fitted.json', import.meta.url);

/** One constant per block of lines, so that a refit shows as the few lines that it changed. */
function format(constants) {
  return `${JSON.stringify({ schemaVersion: 1, constants }, null, 2)}\n`;
}

function percent(value) {
  return value === null ? '-' : `${value.toFixed(2)} %`;
}

const {
  layer,
  keep,
  'dry-run': isDry,
} = parseArgs({
  options: {
    layer: { type: 'string' },
    keep: { type: 'boolean', default: false },
    'dry-run': { type: 'boolean', default: false },
  },
}).values;
if (layer !== undefined && !LAYERS.includes(layer)) {
  throw new RangeError(`"layer" expected one of ${LAYERS.join(', ')}, got ${layer}`);
}

let { constants } = JSON.parse(readFileSync(file, 'utf8'));
for (const name of LAYERS.filter((each) => layer === undefined || each === layer)) {
  if (!constants.some((constant) => constant.layer === name)) continue;
  const start = performance.now();
  const before = constants;
  const result = calibrate(measurements(), constants, name, { fit: !keep });
  constants = result.constants;
  const seconds = ((performance.now() - start) / 1e3).toFixed(1);
  console.error(
    `${name}: ${result.rows} rows, ${result.predictions} predictions in ${seconds} s; median absolute error`,
  );
  console.error(
    `  initial ${percent(result.initialPct)}, before ${percent(result.beforePct)}, after ${percent(result.afterPct)}, held out ${percent(result.heldOutPct)}`,
  );
  constants.forEach((constant, i) => {
    if (constant.layer !== name) return;
    const { value, unit, lower, upper, errorBeforePct, errorAfterPct } = constant;
    const atBound = value <= lower || value >= upper ? '  AT ITS BOUND' : '';
    console.error(
      `  ${constant.name}  ${before[i].value} -> ${value} ${unit} in [${lower}, ${upper}]${atBound}; its rows: at its initial value ${percent(errorBeforePct)}, now ${percent(errorAfterPct)}`,
    );
  });
}
if (!isDry) writeFileSync(file, format(constants));
