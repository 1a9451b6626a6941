/** base/math.ts against the host's `Math`, against exact values, and against committed bits. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cos, exp, log, pow, sin } from '../src/base/math.ts';

const functions = { exp, log, pow, sin, cos } as const;

const view = new DataView(new ArrayBuffer(8));

function bitsOf(x: number): string {
  view.setFloat64(0, x);
  return view.getBigUint64(0).toString(16).padStart(16, '0');
}

/** Doubles counted from 0, so that neighbours differ by 1, across the sign too. */
function ordinal(x: number): bigint {
  view.setFloat64(0, x);
  const code = view.getBigInt64(0);
  return code < 0n ? -(code & 0x7fff_ffff_ffff_ffffn) : code;
}

function expectWithinOneUlp(actual: number, reference: number, call: string): void {
  if (Number.isNaN(reference) || Math.abs(reference) === Infinity) {
    expect(actual, call).toBe(reference);
    return;
  }
  const distance = ordinal(actual) - ordinal(reference);
  expect(distance >= -1n && distance <= 1n, `${call} = ${actual}, reference ${reference}`).toBe(true);
}

describe('within 1 ulp of the host', () => {
  const angle = fc.oneof(
    fc.double({ min: -1647099, max: 1647099, noNaN: true }),
    fc.double({ min: -7, max: 7, noNaN: true }),
    // Multiples of π/2, where the reduction cancels almost everything.
    fc.integer({ min: -1_048_576, max: 1_048_576 }).map((k) => (k * Math.PI) / 2),
  );
  const cases = {
    exp: fc.tuple(fc.oneof(fc.double({ min: -746, max: 710 }), fc.double({ min: -1, max: 1 }), fc.double())),
    log: fc.tuple(fc.oneof(fc.double(), fc.double({ min: 0, max: 3 }), fc.double({ min: 0, max: 1e-300 }))),
    sin: fc.tuple(angle),
    cos: fc.tuple(angle),
    pow: fc.oneof(
      fc.tuple(fc.double(), fc.double()),
      fc.tuple(fc.double({ min: 0, max: 1e6 }), fc.double({ min: -50, max: 50 })),
      fc.tuple(fc.double({ min: 0.999999, max: 1.000001 }), fc.double({ min: -1e8, max: 1e8 })),
      fc.tuple(fc.double({ min: -100, max: 100 }), fc.integer({ min: -200, max: 200 })),
    ),
  } satisfies Record<keyof typeof functions, fc.Arbitrary<number[]>>;

  test.each(Object.keys(cases) as (keyof typeof functions)[])('%s agrees with Math on random arguments', (name) => {
    const ours = functions[name] as (...args: number[]) => number;
    const host = Math[name] as (...args: number[]) => number;
    fc.assert(
      fc.property(cases[name] as fc.Arbitrary<number[]>, (args) => {
        expectWithinOneUlp(ours(...args), host(...args), `${name}(${args.join(', ')})`);
      }),
      { numRuns: 4000, seed: 20_20 },
    );
  });
});

describe('exact values', () => {
  test('pow of small integers is the exact integer', () => {
    for (let x = -20; x <= 20; x++) {
      for (let y = 0; y <= 12; y++) {
        const exact = BigInt(x) ** BigInt(y);
        if (exact < 2n ** 53n && exact > -(2n ** 53n)) expect(pow(x, y)).toBe(Number(exact));
      }
    }
  });

  test('powers of two are exact over the whole range, subnormals included', () => {
    let expected = 1;
    for (let k = 0; k >= -1074; k--, expected /= 2) expect(pow(2, k)).toBe(expected);
    expect(pow(2, -1075)).toBe(0);
    expect(pow(2, 1023)).toBe(8.98846567431158e307);
    expect(pow(2, 1024)).toBe(Infinity);
  });

  test('special values follow ECMAScript', () => {
    const specials = [0, -0, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 5e-324, Number.MAX_VALUE, Infinity, -Infinity, Number.NaN];
    for (const x of specials) {
      expectWithinOneUlp(exp(x), Math.exp(x), `exp(${x})`);
      for (const y of specials) expectWithinOneUlp(pow(x, y), x ** y, `pow(${x}, ${y})`);
    }
    expect([exp(-Infinity), exp(Infinity), exp(710), exp(-746), exp(0)]).toEqual([0, Infinity, Infinity, 0, 1]);
    expect([log(0), log(-0), log(1), log(Infinity)]).toEqual([-Infinity, -Infinity, 0, Infinity]);
    for (const x of [-1, -5e-324, -Infinity, Number.NaN]) expect(log(x)).toBeNaN();
    for (const f of [exp, log, sin, cos]) expect(f(Number.NaN)).toBeNaN();
    expect(sin(-0)).toBe(-0);
    expect(sin(5e-324)).toBe(5e-324);
    expect(cos(0)).toBe(1);
    expect(Object.is(pow(-0, 3), -0)).toBe(true);
    expect(Object.is(pow(-Infinity, -3), -0)).toBe(true);
  });

  test('sin and cos refuse angles that they cannot reduce', () => {
    expect(Math.abs(sin(1647099.3291652855))).toBeLessThan(1e-9);
    for (const x of [1647100, -1647100, 1e22, Infinity, -Infinity]) {
      expect(() => sin(x)).toThrow(RangeError);
      expect(() => cos(x)).toThrow(`"x" expected an angle within ±2^20·π/2, got ${x}`);
    }
  });
});

describe('properties', () => {
  test('exp undoes log to the precision of the logarithm', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-300, max: 1e300, noNaN: true }), (x) => {
        // An error of 1 ulp in a logarithm below 700 is 2^-43 = 1.1e-13 in the power.
        expect(Math.abs(exp(log(x)) / x - 1)).toBeLessThan(1.2e-13);
      }),
      { seed: 1 },
    );
  });

  test('sin² + cos² is 1 and sin is odd', () => {
    fc.assert(
      fc.property(fc.double({ min: -1647099, max: 1647099, noNaN: true }), (x) => {
        expect(Math.abs(sin(x) * sin(x) + cos(x) * cos(x) - 1)).toBeLessThan(4e-16);
        expect(sin(-x)).toBe(-sin(x));
        expect(cos(-x)).toBe(cos(x));
      }),
      { seed: 2 },
    );
  });
});

/**
 * The same bits on every host. The second column is what this code gives; each was compared with a 300-bit computation
 * and is the correctly rounded result, except exp(1), whose exact value is 0.67 ulp away.
 */
const golden: readonly [keyof typeof functions, readonly number[], string][] = [
  ['exp', [1], '4005bf0a8b14576a'],
  ['exp', [-0.5], '3fe368b2fc6f960a'],
  ['exp', [88.72283905206835], '47efffffdffffff5'],
  ['exp', [-745], '0000000000000001'],
  ['log', [2], '3fe62e42fefa39ef'],
  ['log', [10], '40026bb1bbb55516'],
  ['log', [0.9999999], 'be7ad7f2b1049b9f'],
  ['log', [5e-324], 'c0874385446d71c3'],
  ['pow', [10000, -0.015625], '3febb5fad00ab22c'],
  ['pow', [500000, -0.984375], '3ec4985fec80a8cb'],
  ['pow', [1.0000001, 1000000000], '48f349445c228792'],
  ['pow', [3, -600.5], '0472c3fe31a13ba2'],
  ['pow', [-1.5, 301], 'caf0d6b7feec878d'],
  ['sin', [1], '3feaed548f090cee'],
  ['sin', [131071], 'bfe268613f60babc'],
  ['sin', [Math.PI], '3ca1a62633145c07'],
  ['sin', [1647099], 'bfd4b02e5be91e9e'],
  ['cos', [1], '3fe14a280fb5068c'],
  ['cos', [131071], 'bfea2cebbb513e7c'],
  ['cos', [1.5707963267948966], '3c91a62633145c07'],
  ['cos', [1000000], '3fedf9df9906d32c'],
  ['exp', [1e-10], '3ff000000006df38'],
];

test.each(golden)('%s(%j) has the bits %s', (name, args, bits) => {
  expect(bitsOf((functions[name] as (...args: number[]) => number)(...args))).toBe(bits);
});
