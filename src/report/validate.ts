/** The text of a validation: errors by kind and family, by part, the worst rows, what was not predicted, what was fitted. */
import type { ErrorSummary, ValidatedRow, Validation } from '../validation/validate.ts';
import { formatTime, significant } from './numbers.ts';
import { type Column, table } from './table.ts';

function percent(value: number | null): string {
  return value === null ? '-' : `${value.toFixed(1)} %`;
}

/**
 * The same columns for the summary and its breakdown. `by group` weighs experiments equally, `baseline` is the error of the
 * estimate on the back of an envelope (docs/validation.md).
 */
function errorColumns<T extends ErrorSummary>(): Column<T>[] {
  const column = (title: string, value: (row: T) => string): Column<T> => ({ title, value, align: 'right' });
  return [
    column('rows', ({ rows }) => `${rows}`),
    column('predicted', ({ coverage }) => `${(100 * coverage).toFixed(0)} %`),
    column('median', (row) => percent(row.medianAbsErrorPct)),
    column('by group', (row) => percent(row.groupMedianAbsErrorPct)),
    column('90th', (row) => percent(row.p90AbsErrorPct)),
    column('bias', (row) => percent(row.biasPct)),
    column('baseline', (row) => percent(row.baselineMedianAbsErrorPct)),
  ];
}

/** Times with a unit that fits them; throughputs as they are. */
function quantity(value: number, unit: ValidatedRow['unit']): string {
  return unit === 's' ? formatTime(value * 1e9) : `${significant(value)} ${unit}`;
}

/** How often each reason occurs, most often first. */
function reasons(rows: readonly ValidatedRow[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const { unsupported } of rows) {
    if (unsupported !== undefined) counts.set(unsupported, (counts.get(unsupported) ?? 0) + 1);
  }
  return [...counts].sort(([, a], [, b]) => b - a);
}

/** Report of `trnsim validate`, with the `worst` rows of the largest errors. */
export function validationReport({ rows, summary, breakdown, fitted }: Validation, worst: number): string {
  const farthest = rows
    .filter((row) => row.errorPct !== null)
    .sort((a, b) => Math.abs(b.errorPct!) - Math.abs(a.errorPct!))
    .slice(0, worst);
  const missing = reasons(rows);
  const sections = [
    `Absolute errors in percent of the observed value; bias is the median of the signed errors\n\n${table(summary, [
      { title: 'kind', value: ({ kind }) => kind },
      { title: 'family', value: ({ family }) => family },
      ...errorColumns<(typeof summary)[number]>(),
    ])}`,
    table(breakdown, [
      { title: 'kind', value: ({ kind }) => kind },
      { title: 'family', value: ({ family }) => family },
      { title: 'part', value: ({ part }) => part },
      ...errorColumns<(typeof breakdown)[number]>(),
    ]),
    farthest.length > 0 &&
      table(farthest, [
        { title: 'worst rows', value: ({ id }) => id },
        { title: 'observed', value: ({ observed, unit }) => quantity(observed, unit), align: 'right' },
        { title: 'predicted', value: ({ predicted, unit }) => quantity(predicted!, unit), align: 'right' },
        { title: 'error', value: ({ errorPct }) => percent(errorPct), align: 'right' },
        { title: 'baseline', value: ({ baselineErrorPct }) => percent(baselineErrorPct), align: 'right' },
      ]),
    missing.length > 0 &&
      table(missing, [
        { title: 'rows', value: ([, count]) => `${count}`, align: 'right' },
        { title: 'not predicted, because', value: ([reason]) => reason },
      ]),
    fitted.length > 0 &&
      table(fitted, [
        { title: 'fitted constant', value: ({ name }) => name },
        { title: 'value', value: ({ value, unit }) => `${significant(value)} ${unit}`, align: 'right' },
        { title: 'without', value: ({ errorBeforePct }) => percent(errorBeforePct), align: 'right' },
        { title: 'with', value: ({ errorAfterPct }) => percent(errorAfterPct), align: 'right' },
        { title: 'mechanism', value: ({ mechanism }) => mechanism },
        { title: 'rows', value: ({ rows: selectors }) => selectors.join(' ') },
      ]),
  ];
  return sections.filter((section) => section !== false).join('\n');
}
