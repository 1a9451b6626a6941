/**
 * Elementary functions with the same bits on every JavaScript engine, within 1 ulp of the exact value.
 *
 * ECMAScript leaves the precision of `Math`'s functions to the engine, and V8 itself has changed its power function
 * between releases. Only + - * / on doubles (IEEE 754, correctly rounded) and bit access are used here, so a result
 * can't depend on the host. The algorithms and coefficients are those of fdlibm (Sun Microsystems, 1993): argument
 * reduction to a small interval, a minimax polynomial there, and a head + tail pair of doubles where one is too short.
 * see: fdlibm e_exp.c, e_log.c, e_pow.c, e_rem_pio2.c, k_sin.c, k_cos.c.
 *
 * Special values follow ECMAScript's `Math`: NaN in, NaN out, and `pow(1, Infinity)` is NaN, unlike in C99.
 * Leaves out: angles beyond 2^20·π/2, whose reduction needs hundreds of bits of π.
 */

// One double seen as two 32-bit words. DataView is big-endian: word 0 holds sign, exponent and the 20 top bits.
const bits = new DataView(new ArrayBuffer(8));
const HIGH = 0;
const LOW = 4;

function highWord(x: number): number {
  bits.setFloat64(HIGH, x);
  return bits.getInt32(HIGH);
}

function withHighWord(x: number, high: number): number {
  bits.setFloat64(HIGH, x);
  bits.setInt32(HIGH, high);
  return bits.getFloat64(HIGH);
}

/** The head of `x`: its upper 21 significant bits. A product of two heads is exact. */
function head(x: number): number {
  bits.setFloat64(HIGH, x);
  bits.setInt32(LOW, 0);
  return bits.getFloat64(HIGH);
}

/** 2^k for a normal result, -1022 <= k <= 1023. */
function powerOfTwo(k: number): number {
  bits.setInt32(HIGH, (k + 1023) << 20);
  bits.setInt32(LOW, 0);
  return bits.getFloat64(HIGH);
}

/** x·2^k, rounded once: a result below the normal range is first formed exactly, 2^1000 times too large. */
function scale(x: number, k: number): number {
  if (k > 1023) return x * 2 * powerOfTwo(k - 1);
  if (k < -1021) return x * powerOfTwo(k + 1000) * powerOfTwo(-1000);
  return x * powerOfTwo(k);
}

/** x = 2^exponent · mantissa with 1 <= mantissa < 2, for a finite x > 0. */
function split(x: number): { exponent: number; mantissa: number } {
  // A subnormal has no implicit leading bit: make it normal first.
  const isSubnormal = highWord(x) < 0x00100000;
  const normal = isSubnormal ? x * 0x40000000000000 : x;
  const high = highWord(normal);
  const exponent = (high >> 20) - 1023 - (isSubnormal ? 54 : 0);
  return { exponent, mantissa: withHighWord(normal, (high & 0x000fffff) | 0x3ff00000) };
}

/** c0 + c1·z + c2·z² + ... by Horner's rule. */
function polynomial(z: number, coefficients: readonly number[]): number {
  let sum = 0;
  for (let i = coefficients.length - 1; i >= 0; i--) sum = coefficients[i]! + z * sum;
  return sum;
}

// ln 2 in two parts: the first has 32 zero bits at its end, so that an exponent times it is exact.
const LN2_HEAD = 0.6931471803691238;
const LN2_TAIL = 1.9082149292705877e-10;

const EXP_SERIES = [
  0.16666666666666602, -0.0027777777777015593, 6.613756321437934e-5, -1.6533902205465252e-6, 4.1381367970572385e-8,
];

/**
 * c of e^x = 1 + x + x·c/(2 - c), |x| <= ln(2)/2.
 * c = x - (x·coth(x/2) - 2), and the bracket is even in x: five coefficients reach 2^-59.
 */
function expRemainder(x: number): number {
  const z = x * x;
  return x - z * polynomial(z, EXP_SERIES);
}

/** e^x. Overflows to Infinity above 709.78, underflows to 0 below -745.13. */
export function exp(x: number): number {
  if (x > 709.782712893384) return Infinity;
  if (x < -745.1332191019411) return 0;
  // x = k·ln2 + r with |r| <= ln(2)/2; r is kept as reducedHead - reducedTail.
  const k = Math.round(x * Math.LOG2E);
  const reducedHead = x - k * LN2_HEAD;
  const reducedTail = k * LN2_TAIL;
  const r = reducedHead - reducedTail;
  const c = expRemainder(r);
  return scale(1 - (reducedTail - (r * c) / (2 - c) - reducedHead), k);
}

// 2·(atanh(s)/s - 1) in s², as fitted by fdlibm: the even and the odd powers are summed apart.
const LOG_ODD = [0.6666666666666735, 0.2857142874366239, 0.1818357216161805, 0.14798198605116586];
const LOG_EVEN = [0.3999999999940942, 0.22222198432149784, 0.15313837699209373];

/** ln x. `log(0)` is -Infinity, the logarithm of a negative number is NaN. */
export function log(x: number): number {
  if (!(x >= 0)) return NaN;
  if (x === 0) return -Infinity;
  if (x === Infinity) return Infinity;
  // x = 2^k·(1 + f) with √½ < 1 + f < √2, then ln(1 + f) = f - f²/2 + s·(f²/2 + R(s²)), s = f/(2 + f).
  const { exponent, mantissa } = split(x);
  const isUpper = highWord(mantissa) >= 0x3ff6a09e;
  const k = isUpper ? exponent + 1 : exponent;
  const f = (isUpper ? mantissa * 0.5 : mantissa) - 1;
  const s = f / (2 + f);
  const z = s * s;
  const w = z * z;
  const series = w * polynomial(w, LOG_EVEN) + z * polynomial(w, LOG_ODD);
  const halfSquare = 0.5 * f * f;
  return k * LN2_HEAD - (halfSquare - (s * (halfSquare + series) + k * LN2_TAIL) - f);
}

/** A number as an unevaluated sum: `head` has 32 zero bits at its end, `tail` holds what they would have held. */
interface Pair {
  readonly head: number;
  readonly tail: number;
}

// 3·(atanh(s)/s - 1 - s²/3)/s⁴ in s².
const LOG2_SERIES = [
  0.5999999999999946, 0.4285714285785502, 0.33333332981837743, 0.272728123808534, 0.23066074577556175,
  0.20697501780033842,
];

/**
 * log2 of a finite x > 0 to about 70 bits, which `pow` needs because y multiplies the error.
 *
 *     x = 2^n·m,  s = (m - b)/(m + b) with b = 1 or 1.5, the nearer one,
 *     log2 x = n + log2 b + (2/ln2)·(s + s³/3 + s⁵/5 + ...)
 */
function log2Pair(x: number): Pair {
  const { exponent, mantissa } = split(x);
  const high = highWord(mantissa);
  // m within √(3/2) of 1 or of 3/2; above √3 the nearer base is 1 in the next binade.
  const nearOne = high <= 0x3ff3988e;
  const nearTwo = high >= 0x3ffbb67a;
  const n = nearTwo ? exponent + 1 : exponent;
  const m = nearTwo ? mantissa * 0.5 : mantissa;
  const base = nearOne || nearTwo ? 1 : 1.5;
  const log2Base = base === 1 ? { head: 0, tail: 0 } : { head: 0.5849624872207642, tail: 1.350039202129749e-8 };

  const difference = m - base;
  const inverseSum = 1 / (m + base);
  const s = difference * inverseSum;
  const sHead = head(s);
  const sumHead = head(m + base);
  const sumTail = m - (sumHead - base);
  const sTail = inverseSum * (difference - sHead * sumHead - sHead * sumTail);

  // atanh(s) = s/3·(3 + s² + series); the bracket is split so that sHead times its head is exact.
  const s2 = s * s;
  const series = s2 * s2 * polynomial(s2, LOG2_SERIES) + sTail * (sHead + s);
  const sHead2 = sHead * sHead;
  const sumSeriesHead = head(3 + sHead2 + series);
  const sumSeriesTail = series - (sumSeriesHead - 3 - sHead2);
  const u = sHead * sumSeriesHead;
  const v = sTail * sumSeriesHead + sumSeriesTail * s;
  const productHead = head(u + v);
  const productTail = v - (productHead - u);

  // 2/(3·ln2), as head and tail.
  const zHead = 0.9617967009544373 * productHead;
  const zTail = -7.028461650952758e-9 * productHead + productTail * 0.9617966939259756 + log2Base.tail;
  const resultHead = head(zHead + zTail + log2Base.head + n);
  return { head: resultHead, tail: zTail - (resultHead - n - log2Base.head - zHead) };
}

/** 2^(a.head + a.tail), for a sum within -1075..1024. */
function exp2Pair(a: Pair): number {
  const n = Math.round(a.head + a.tail);
  const t = head(a.tail + (a.head - n));
  const u = t * 0.6931471824645996;
  const v = (a.tail - (t - (a.head - n))) * Math.LN2 + t * -1.904654299957768e-9;
  const z = u + v;
  const w = v - (z - u);
  const c = expRemainder(z);
  return scale(1 - ((z * c) / (c - 2) - (w + z * w) - z), n);
}

/** 1024 - log2(largest double + half an ulp) = 1.44·2^-54: an exponent of 1024 less than this still overflows. */
const OVERFLOW_TAIL = 8.008566259537294e-17;

/**
 * x^y. Exact when the result is an integer that a double holds.
 * NaN if x < 0 and y is no integer, and if x is ±1 and y infinite (as in ECMAScript, unlike C99).
 */
export function pow(x: number, y: number): number {
  if (y === 0) return 1;
  if (Number.isNaN(x) || Number.isNaN(y)) return NaN;
  const magnitude = Math.abs(x);
  if (y === Infinity || y === -Infinity) {
    if (magnitude === 1) return NaN;
    return magnitude > 1 === y > 0 ? Infinity : 0;
  }
  // Doubles from 2^53 on are even, so `%` sees every odd y.
  const isOdd = Math.abs(y % 2) === 1;
  const sign = isOdd && (x < 0 || Object.is(x, -0)) ? -1 : 1;
  if (magnitude === 0 || magnitude === Infinity) {
    return sign * ((magnitude === Infinity) === y > 0 ? Infinity : 0);
  }
  if (x < 0 && !Number.isInteger(y)) return NaN;
  if (magnitude === 1) return sign;

  const logarithm = log2Pair(magnitude);
  // y·log2|x| with the leading part exact: both heads are short.
  const yHead = head(y);
  const product = { head: yHead * logarithm.head, tail: (y - yHead) * logarithm.head + y * logarithm.tail };
  const exponent = product.head + product.tail;
  if (exponent > 1024 || (exponent === 1024 && product.tail + OVERFLOW_TAIL > exponent - product.head)) {
    return sign * Infinity;
  }
  if (exponent < -1075 || (exponent === -1075 && product.tail <= exponent - product.head)) return sign * 0;
  return sign * exp2Pair(product);
}

/** 2^20·π/2: up to here k·(first 33 bits of π/2) is exact for the quotient k. */
const LARGEST_ANGLE = 1647099.3291652855;
const TWO_OVER_PI = 0.6366197723675814;
// π/2 in three parts of 33 bits, each with the rest of π/2 after it.
const HALF_PI = [
  [1.5707963267341256, 6.077100506506192e-11],
  [6.077100506303966e-11, 2.0222662487959506e-21],
  [2.0222662487111665e-21, 8.4784276603689e-32],
] as const;

/**
 * x = quadrant·π/2 + (head + tail), |head| <= π/4 (Cody and Waite, in three steps).
 * @throws RangeError if |x| > 2^20·π/2
 */
function reduceAngle(x: number): { quadrant: number; head: number; tail: number } {
  if (Math.abs(x) <= Math.PI / 4) return { quadrant: 0, head: x, tail: 0 };
  if (Math.abs(x) > LARGEST_ANGLE) {
    throw new RangeError(`"x" expected an angle within ±2^20·π/2, got ${x}`);
  }
  const k = Math.round(x * TWO_OVER_PI);
  const exponent = (highWord(x) >> 20) & 0x7ff;
  let rest = x - k * HALF_PI[0][0];
  let correction = k * HALF_PI[0][1];
  // Near a multiple of π/2 the leading bits cancel. `lostBits` is how many may be lost before the bits of π/2 used so
  // far leave fewer than 53 good ones and a tail; each step adds 33 more.
  for (const [step, lostBits] of [
    [1, 16],
    [2, 49],
  ] as const) {
    if (exponent - ((highWord(rest - correction) >> 20) & 0x7ff) <= lostBits) break;
    const before = rest;
    const part = k * HALF_PI[step][0];
    rest = before - part;
    correction = k * HALF_PI[step][1] - (before - rest - part);
  }
  const reduced = rest - correction;
  return { quadrant: k & 3, head: reduced, tail: rest - reduced - correction };
}

const SIN_SERIES = [
  0.00833333333332249, -0.0001984126982985795, 2.7557313707070068e-6, -2.5050760253406863e-8, 1.58969099521155e-10,
];
const COS_SERIES = [
  0.0416666666666666, -0.001388888888887411, 2.480158728947673e-5, -2.7557314351390663e-7, 2.087572321298175e-9,
  -1.1359647557788195e-11,
];

/** sin(x + tail), |x| <= π/4. */
function sinKernel(x: number, tail: number): number {
  const z = x * x;
  const v = z * x;
  const r = polynomial(z, SIN_SERIES);
  return x - (z * (0.5 * tail - v * r) - tail - v * -0.16666666666666632);
}

/** cos(x + tail), |x| <= π/4. */
function cosKernel(x: number, tail: number): number {
  const z = x * x;
  const r = z * polynomial(z, COS_SERIES);
  // 1 - z/2 rounds; what the rounding lost is added back.
  const half = 0.5 * z;
  const w = 1 - half;
  return w + (1 - w - half + (z * r - x * tail));
}

/**
 * Sine of `x` radians.
 * @throws RangeError if |x| > 2^20·π/2 = 1 647 099
 */
export function sin(x: number): number {
  const { quadrant, head, tail } = reduceAngle(x);
  const value = quadrant % 2 === 0 ? sinKernel(head, tail) : cosKernel(head, tail);
  return quadrant >= 2 ? -value : value;
}

/**
 * Cosine of `x` radians.
 * @throws RangeError if |x| > 2^20·π/2 = 1 647 099
 */
export function cos(x: number): number {
  const { quadrant, head, tail } = reduceAngle(x);
  const value = quadrant % 2 === 0 ? cosKernel(head, tail) : sinKernel(head, tail);
  return quadrant === 1 || quadrant === 2 ? -value : value;
}
