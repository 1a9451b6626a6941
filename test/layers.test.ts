/**
 * The architecture, held by a test: which folder may import which, where Node's modules may appear, and what makes a
 * result depend on the machine that computes it. The order is that of docs/architecture.md.
 *
 * Reads src/ with TypeScript's own parser, so that a comment or a string that looks like an import is neither.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

const LAYERS = [
  'base',
  'kernels',
  'hardware',
  'core',
  'fabric',
  'collectives',
  'machine',
  'models',
  'formats',
  'workloads',
  'economics',
  'validation',
  'report',
];
/** What package.json exports, beside the folder entry `kernels/index.ts`. */
const ENTRIES = ['index.ts', 'replay.ts'];
const MAX_LINES = 500;

interface SourceFile {
  /** Relative to src/, `/`-separated. */
  path: string;
  /** First folder of `path`, or the file's own name at the top. */
  layer: string;
  lines: string[];
  /** The lines with comments blanked out, everything else in place. */
  codeLines: string[];
  /** What it imports: paths relative to src/, or package names. */
  imports: string[];
}

/** The text with every comment replaced by spaces: what no token covers is a comment or white space. */
function blankComments(text: string): string {
  const source = ts.createSourceFile('file.ts', text, ts.ScriptTarget.Latest);
  const blank = (from: number, to: number) => text.slice(from, to).replace(/[^\n]/g, ' ');
  let code = '';
  const visit = (node: ts.Node): void => {
    if (ts.isJSDoc(node)) return;
    const children = node.getChildren(source);
    if (children.length > 0) {
      for (const child of children) visit(child);
      return;
    }
    const start = node.getStart(source);
    code += blank(code.length, start) + text.slice(start, node.end);
  };
  visit(source);
  return code + blank(code.length, text.length);
}

function importsOf(path: string, text: string): string[] {
  return ts
    .preProcessFile(text)
    .importedFiles.map(({ fileName }) =>
      fileName.startsWith('.') ? posix.join(posix.dirname(path), fileName) : fileName,
    );
}

const src = fileURLToPath(new URL('../src/', import.meta.url));
const files: SourceFile[] = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => path.endsWith('.ts') && !path.endsWith('.gen.ts'))
  .sort()
  .map((path) => {
    const text = readFileSync(src + path, 'utf8');
    const codeLines = blankComments(text).split('\n');
    return { path, layer: path.split('/')[0]!, lines: text.split('\n'), codeLines, imports: importsOf(path, text) };
  });

const isInSrc = (imported: string) => imported.endsWith('.ts');

/** Lines of code outside `except` in which `pattern` occurs, as `path:line: text`. */
function occurrences(pattern: RegExp, except: (file: SourceFile) => boolean): string[] {
  return files
    .filter((file) => !except(file))
    .flatMap(({ path, codeLines }) =>
      codeLines.flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
    );
}

/** Why `file` may not import `imported`, or undefined if it may. */
function violation({ layer }: SourceFile, imported: string): string | undefined {
  const target = imported.split('/')[0]!;
  if (target === layer) return undefined;
  // Errors and units are in every entry; a verb that needs no more than they does not load the rest for them.
  if (layer === 'cli' && (ENTRIES.includes(imported) || target === 'base')) return undefined;
  if (layer === 'cli') return 'the command line uses only the public interface';
  if (ENTRIES.includes(layer))
    return [...LAYERS, ...ENTRIES].includes(target) ? undefined : 'the library does not know the command line';
  const from = LAYERS.indexOf(layer);
  const to = LAYERS.indexOf(target);
  if (from < 0) return `"${layer}" is not a layer`;
  if (to < 0 || to > from) return `${target} is not below ${layer}`;
  if (target === 'kernels' && ['hardware', 'fabric'].includes(layer)) return 'the numbers and the machine are apart';
  return undefined;
}

describe('imports', () => {
  test('a file imports only from its own folder or from folders below it', () => {
    const violations = files.flatMap((file) =>
      file.imports.filter(isInSrc).flatMap((imported) => {
        const why = violation(file, imported);
        return why === undefined ? [] : [`${file.path} imports ${imported}: ${why}`];
      }),
    );
    expect(violations).toEqual([]);
  });

  test('only the command line imports modules of Node', () => {
    const importers = files.filter(({ layer, imports }) => layer !== 'cli' && imports.some(isBuiltin));
    expect(importers.map(({ path }) => path)).toEqual([]);
  });

  test('packages that the library imports are dependencies, not development dependencies', () => {
    const { dependencies } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
    const isForeign = (name: string) =>
      !isInSrc(name) && !isBuiltin(name) && !(/^(@[^/]+\/)?[^/]+/.exec(name)![0] in dependencies);
    expect(files.flatMap(({ path, imports }) => imports.filter(isForeign).map((name) => `${path}: ${name}`))).toEqual(
      [],
    );
  });
});

describe('the same result everywhere', () => {
  // sqrt and the integer functions are exact by the language's specification; sin, exp, pow, hypot and the rest are left
  // to the engine, and random and the clock to chance.
  const exact =
    'abs|ceil|clz32|floor|fround|imul|max|min|round|sign|sqrt|trunc|PI|E|LN2|LN10|LOG2E|LOG10E|SQRT1_2|SQRT2';

  test('no function of Math that an engine may approximate is used outside base/math.ts', () => {
    const inexact = new RegExp(`\\bMath\\b(?!\\.(${exact})\\b)`);
    expect(occurrences(inexact, ({ path }) => path === 'base/math.ts')).toEqual([]);
  });

  test('powers are of integer literals and exact, or computed by base/math.ts', () => {
    const inexact = /(?<!\b2 )\*\* -|(?<!\b\d+ )\*\*|\*\*(?! -?\d+\b(?!\.))/; // `2 ** -24` and `10 ** 9` are exact
    expect(occurrences(inexact, () => false)).toEqual([]);
  });

  test('no clock and no locale reach the library', () => {
    const ambient = /\bDate\b|\bperformance\.|\bIntl\b|\btoLocale\w*|\blocaleCompare\b/;
    // Turbo asks whether it is faster before it stays on: the answer decides which build computes, not what comes out.
    // A warm-up lasts for a time, and nothing comes out of it.
    const timed = ['kernels/turbo.ts', 'kernels/warmup.ts'];
    expect(occurrences(ambient, ({ layer, path }) => layer === 'cli' || timed.includes(path))).toEqual([]);
  });
});

describe('size and comments', () => {
  test(`no file is longer than ${MAX_LINES} lines`, () => {
    const long = files.filter(({ lines }) => lines.length > MAX_LINES);
    expect(long.map(({ path, lines }) => `${path}: ${lines.length} lines`)).toEqual([]);
  });

  test('every file opens with a comment that says what it models', () => {
    const bare = files.filter(({ lines }) => !/^(\/\*\*|\/\/)/.test(lines.find((line) => !line.startsWith('#!'))!));
    expect(bare.map(({ path }) => path)).toEqual([]);
  });

  test('between 12 and 35 % of the lines are comments', () => {
    // A line counts as a comment if it has no code: a remark behind a statement does not hide the statement.
    const isBlank = (line: string) => line.trim() === '';
    let written = 0;
    let comments = 0;
    for (const { lines, codeLines } of files) {
      written += lines.filter((line) => !isBlank(line)).length;
      comments += lines.filter((line, index) => !isBlank(line) && isBlank(codeLines[index]!)).length;
    }
    expect(comments / written).toBeGreaterThanOrEqual(0.12);
    expect(comments / written).toBeLessThanOrEqual(0.35);
  });
});
