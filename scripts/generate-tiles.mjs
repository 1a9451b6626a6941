/**
 * Writes assembly/tiles.gen.ts: the register tiles of the matrix product, for every height. AssemblyScript has neither
 * unrolling nor arrays in registers, so the rows are written out here.
 *
 *     tile<MR>        C[MR, 8] (+)= A B,  A packed: MR rows interleaved, out[k][MR]
 *     rows<MR>        the same with A in place: MR row pointers that advance together
 *     wide<MR>        C[MR, 16], A packed: for V8's revectoriser, which fuses pairs of 128-bit operations
 *     dots<MR>        C[MR, 8] of i32, pairs of i16 along k: i32x4.dot_i16x8_s
 *     quads<MR>       C[MR, 8] of i32, quads of bytes along k: i32x4.relaxed_dot_i8x16_i7x16_add_s; before the first
 *                     quads of B lie 8 i32 that are added to every row
 *
 * The form of the loop decides the speed. One k step an iteration, a do-while inside `if (k > 0)`, the accumulators
 * loaded before it and stored after it, in a function of its own: then V8 11 and 12 (Node 20, 22) interleave loads and
 * arithmetic; in any other form they hoist the loads and spill (23.8 instead of 45.7 GFLOP/s for tile5, Node 20).
 */
import { writeFileSync } from 'node:fs';

const range = (n) => Array.from({ length: n }, (_, i) => i);

/**
 * One tile. `vectors`: 128-bit accumulators of a row. `isPacked`: A interleaved, or in place with row pointers. `terms`: of
 * integers in a lane of 32 bits; none if they are FP32.
 */
function tile({ name, mr, vectors, isPacked, terms = 0, addsAfter = false }) {
  const rows = range(mr);
  const columns = range(vectors);
  const rowPointer = (i) => (i === 0 ? 'c' : `c${i}`);
  const at = (offset) => (offset === 0 ? '' : `, ${offset}`);
  // Both products before both sums: on hosts that keep this order (V8 13) it is 2 % faster than product, sum, product, sum.
  const update = (i) => {
    if (terms === 2) return columns.map((j) => `      s${i}${j} = i32x4.add(s${i}${j}, i32x4.dot_i16x8_s(x, b${j}));`);
    if (terms === 4) {
      return columns.map((j) => `      s${i}${j} = i32x4.relaxed_dot_i8x16_i7x16_add_s(b${j}, x, s${i}${j});`);
    }
    return [
      '      if (ASC_FEATURE_RELAXED_SIMD) {',
      ...columns.map((j) => `        s${i}${j} = f32x4.relaxed_madd(x, b${j}, s${i}${j});`),
      '      } else {',
      ...columns.map((j) => `        const p${j} = f32x4.mul(x, b${j});`),
      ...columns.map((j) => `        s${i}${j} = f32x4.add(s${i}${j}, p${j});`),
      '      }',
    ];
  };
  const isInteger = terms > 0;
  const splat = isInteger ? 'v128.load_splat<i32>' : 'v128.load_splat<f32>';
  const zero = isInteger ? 'i32x4.splat(0)' : 'f32x4.splat(0)';
  const parameters = isPacked
    ? 'k: i32, a: usize, b: usize, bStep: usize, c: usize, cStep: usize, accumulate: i32'
    : 'k: i32, a: usize, aRow: usize, aStep: usize, b: usize, bStep: usize, c: usize, cStep: usize, accumulate: i32';
  const lines = [
    `export function ${name}${mr}(${parameters}): void {`,
    ...rows.slice(1).map((i) => `  const ${rowPointer(i)} = ${rowPointer(i - 1)} + cStep;`),
    ...(isPacked ? [] : rows.slice(1).map((i) => `  let a${i} = ${i === 1 ? 'a' : `a${i - 1}`} + aRow;`)),
    ...(terms === 4 ? [...columns.map((j) => `  const t${j} = v128.load(b${at(16 * j)});`), '  b += bStep;'] : []),
    ...rows.flatMap((i) => columns.map((j) => `  let s${i}${j} = ${terms === 4 ? `t${j}` : zero};`)),
    ...(addsAfter
      ? []
      : [
          '  if (accumulate) {',
          ...rows.flatMap((i) =>
            columns.map((j) => {
              const held = `v128.load(${rowPointer(i)}${at(16 * j)})`;
              return `    s${i}${j} = ${terms === 4 ? `i32x4.add(t${j}, ${held})` : held};`;
            }),
          ),
          '  }',
        ]),
    '  if (k > 0) {',
    '    do {',
    ...columns.map((j) => `      const b${j} = v128.load(b${at(16 * j)});`),
    ...rows.flatMap((i) => [
      `      ${i === 0 ? 'let ' : ''}x = ${splat}(${isPacked || i === 0 ? `a${isPacked ? at(4 * i) : ''}` : `a${i}`});`,
      ...update(i),
    ]),
    ...(isPacked ? [`      a += ${4 * mr};`] : rows.map((i) => `      a${i === 0 ? '' : i} += aStep;`)),
    '      b += bStep;',
    '    } while (--k);',
    '  }',
    ...(addsAfter
      ? [
          '  if (accumulate) {',
          ...rows.flatMap((i) =>
            columns.map(
              (j) =>
                `    v128.store(${rowPointer(i)}${at(16 * j)}, f32x4.add(v128.load(${rowPointer(i)}${at(16 * j)}), s${i}${j}));`,
            ),
          ),
          '    return;',
          '  }',
        ]
      : []),
    ...rows.flatMap((i) => columns.map((j) => `  v128.store(${rowPointer(i)}${at(16 * j)}, s${i}${j});`)),
    '}',
  ];
  // v128.store takes the offset last.
  return lines.map((line) => line.replace(/v128\.store\((\w+), (\d+), (.*)\);/, 'v128.store($1, $3, $2);')).join('\n');
}

/**
 * `count` tiles of `height` rows, one below the other. The loop stands beside each call: between two tiles there is then one
 * call and no test, and the tile remains a function of its own. Integers, whose tiles do more between two calls, take the
 * shorter code with the tests inside the loop.
 */
function column({ name, heights, isPacked, terms = 0, parameters }) {
  const comment = `/** \`count\` tiles of \`height\` = 1 .. ${heights.at(-1)} rows, one below the other. */`;
  const head = `export function ${name}(height: i32, count: i32, ${parameters}): void {`;
  if (terms > 0) {
    const calls = heights.map((mr) => `    if (height == ${mr}) ${name}${mr}(${names(parameters)});`);
    const steps = ['    a += usize(height * k) << 2;', '    c += usize(height) * cStep;'];
    return [comment, head, '  for (; count > 0; count--) {', ...calls, ...steps, '  }', '}'].join('\n');
  }
  const branches = heights.toReversed().flatMap((mr) => [
    // 6 rows need fused products: 15 registers hold no more than 5 with separate ones.
    `  if (${mr === 6 ? 'ASC_FEATURE_RELAXED_SIMD && ' : ''}height == ${mr}) {`,
    '    for (; count > 0; count--) {',
    `      ${name}${mr}(${names(parameters)});`,
    `      a += ${isPacked ? `usize(${4 * mr} * k)` : `${mr} * aRow`};`,
    `      c += ${mr} * cStep;`,
    '    }',
    '    return;',
    '  }',
  ]);
  return [comment, head, ...branches, '}'].join('\n');
}

const packed = 'k: i32, a: usize, b: usize, bStep: usize, c: usize, cStep: usize, accumulate: i32';
const inPlace =
  'k: i32, a: usize, aRow: usize, aStep: usize, b: usize, bStep: usize, c: usize, cStep: usize, accumulate: i32';
const names = (parameters) => [...parameters.matchAll(/(\w+):/g)].map((match) => match[1]).join(', ');

/** Writes the tiles below `root` (a file URL that ends in `/`). */
export function generateTiles(root) {
  const heights = (tallest) => range(tallest).map((i) => i + 1);
  const families = [
    { name: 'tile', heights: heights(6), vectors: 2, isPacked: true, parameters: packed },
    { name: 'rows', heights: heights(6), vectors: 2, isPacked: false, parameters: inPlace },
    {
      name: 'wide',
      heights: heights(6),
      vectors: 4,
      isPacked: true,
      addsAfter: true,
      parameters: packed,
    },
    { name: 'dots', heights: heights(5), vectors: 2, isPacked: true, terms: 2, parameters: packed },
    { name: 'quads', heights: heights(6), vectors: 2, isPacked: true, terms: 4, parameters: packed },
  ];
  const code = families.flatMap((family) => [...family.heights.map((mr) => tile({ ...family, mr })), column(family)]);
  writeFileSync(
    new URL('assembly/tiles.gen.ts', root),
    `// Generated by scripts/generate-tiles.mjs. Do not edit.\n\n${code.join('\n\n')}\n`,
  );
}
