/** A line chart as SVG text: axes with round numbers, a line and a label for each series. */

const [WIDTH, HEIGHT] = [720, 400];
const MARGIN = { left: 56, right: 150, top: 36, bottom: 44 };
// Told apart by most eyes. see: Okabe, Ito: Color Universal Design (2008).
const COLOURS = ['#000000', '#d55e00', '#0072b2', '#009e73'];

/** Round numbers from `low` to `high`, about five. */
function ticks(low, high) {
  const rough = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const count = Math.floor(high / step) - Math.ceil(low / step) + 1;
  return Array.from({ length: count }, (_, i) => (Math.ceil(low / step) + i) * step);
}

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/** `series`: { name, points: [x, y][] }[]. */
export function lineChart({ title, x, y, series }) {
  const xs = series.flatMap(({ points }) => points.map(([value]) => value));
  const ys = series.flatMap(({ points }) => points.map(([, value]) => value));
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const bottom = HEIGHT - MARGIN.bottom;
  const width = WIDTH - MARGIN.left - MARGIN.right;
  const atX = (value) => (MARGIN.left + ((value - left) / (right - left || 1)) * width).toFixed(1);
  const atY = (value) => (bottom - ((value - low) / (high - low || 1)) * (bottom - MARGIN.top)).toFixed(1);
  const label = (text, attributes) => `<text ${attributes}>${escaped(String(text))}</text>`;
  const number = (value) => String(Number(value.toPrecision(6)));
  const grid = [
    ...ticks(left, right).map((value) =>
      label(number(value), `x="${atX(value)}" y="${bottom + 18}" text-anchor="middle"`),
    ),
    ...ticks(low, high).flatMap((value) => [
      `<path d="M${MARGIN.left} ${atY(value)}h${width}" stroke="#ddd"/>`,
      label(number(value), `x="${MARGIN.left - 8}" y="${Number(atY(value)) + 4}" text-anchor="end"`),
    ]),
  ];
  const lines = series.map(({ points }, i) => {
    const path = points.map(([px, py]) => `${atX(px)} ${atY(py)}`).join('L');
    return `<path d="M${path}" fill="none" stroke="${COLOURS[i]}" stroke-width="1.5"/>`;
  });
  const legend = series.map(({ name, points }, i) => {
    const text = `${name}: ${points.at(-1)[1].toFixed(3)}`;
    return label(text, `x="${WIDTH - MARGIN.right + 8}" y="${MARGIN.top + 14 + 20 * i}" fill="${COLOURS[i]}"`);
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    label(title, `x="${MARGIN.left}" y="20" font-size="14"`),
    ...grid,
    label(x, `x="${MARGIN.left + width / 2}" y="${HEIGHT - 8}" text-anchor="middle"`),
    label(y, `transform="translate(14 ${(MARGIN.top + bottom) / 2}) rotate(-90)" text-anchor="middle"`),
    ...lines,
    ...legend,
    '</svg>',
    '',
  ].join('\n');
}
