/**
 * From a measurement's question to the model's answer.
 *
 * Adding a kind of measurement is a function from its question to a `Predict`, and a line in `predictor`.
 */
import type { Constants } from '../hardware/fitted.ts';
import { collectivePredictor } from './collective.ts';
import { inferencePredictor } from './inference.ts';
import { kernelPredictor } from './kernel.ts';
import { type Measurement, type Question, questionOf } from './measurement.ts';
import { trainingPredictor } from './training.ts';

/** The model's value in the metric's unit, with the fitted constants given. All else is prepared. */
export type Predict = (constants: Constants) => number;

export type Prediction = { readonly value: number } | { readonly unsupported: string };

/** @throws ModelError or RangeError that says what of the question is not modelled. */
function predictor(question: Question): Predict {
  switch (question.kind) {
    case 'kernel':
      return kernelPredictor(question);
    case 'collective':
      return collectivePredictor(question);
    case 'inference':
      return inferencePredictor(question);
    case 'training':
      return trainingPredictor(question);
  }
}

/** Whatever stops one answer must not stop the other rows: it becomes the reason that is reported. */
export function attempt<T>(answer: () => T): { readonly value: T } | { readonly unsupported: string } {
  try {
    return { value: answer() };
  } catch (error) {
    return { unsupported: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * Prepares the prediction of a row: what does not depend on the fitted constants is done once. The answer uses the
 * row's system, case and metric only.
 */
export function prepare(row: Measurement): (constants: Constants) => Prediction {
  const prepared = attempt(() => predictor(questionOf(row)));
  if ('unsupported' in prepared) return () => prepared;
  return (constants) => {
    const answer = attempt(() => prepared.value(constants));
    if ('value' in answer && !(Number.isFinite(answer.value) && answer.value > 0)) {
      return { unsupported: `the model answers ${answer.value}` };
    }
    return answer;
  };
}
