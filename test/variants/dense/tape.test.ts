// The tape against central differences, operation by operation and variant by variant, and what differences do not see: rows
// masked whole, ties, selections, and the roundings themselves.
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { variants } from "../../../models/attention/index.js";
import { registered, settingOf, shapeAt } from "../cases.js";
import { type Extents, SPAN } from "../settings.js";
import { add, atLeast, div, exp, keep, logSigmoid, mul, plus, power, relu, root, scale, sigmoid, sub, tanh } from "./pointwise.js";
import { attend, average, contract, cumsum, greatest, softmax, square, total } from "./reductions.js";
import { either, exact, type Rounding, single } from "./rounding.js";
import { count, type Shape, Tape, type Value } from "./tape.js";
import { type Dense, dense, type Given } from "./variants.js";
import { gather, pick, rename, shift, split } from "./views.js";

type Shapes = Readonly<Record<string, Shape>>;
type Arrays = Readonly<Record<string, Float64Array>>;
function stream(seed: number): () => number {
  let s = seed;
  return () => {
    s = (Math.imul(s ^ (s >>> 15), 0x2c1b3c6d) + 0x6d2b79f5) | 0;
    return ((s ^ (s >>> 13)) >>> 0) / 2 ** 32;
  };
}
const random = (n: number, seed: number, from = -1.5, to = 1.5): Float64Array => {
  const next = stream(seed);
  return Float64Array.from({ length: n }, () => from + (to - from) * next());
};
function run(f: (x: Given) => Value, shapes: Shapes, data: Arrays, round: Rounding = exact) {
  const tape = new Tape(round);
  const x = Object.fromEntries(Object.entries(shapes).map(([name, s]) => [name, tape.leaf(s, data[name] as Float64Array)]));
  const y = f(x);
  return { tape, x, y, ct: random(y.data.length, 99) };
}
/** The greatest difference of d(y·ct)/dx from central differences, over a few elements of each of `wrt`. */
function worst(f: (x: Given) => Value, shapes: Shapes, data: Arrays, wrt: readonly string[] = Object.keys(shapes)): number {
  const { tape, x, y, ct } = run(f, shapes, data);
  tape.backward(y, ct);
  const loss = () => run(f, shapes, data).y.data.reduce((sum, v, i) => sum + v * (ct[i] as number), 0);
  let out = 0;
  for (const name of wrt) {
    const values = data[name] as Float64Array;
    for (let i = 0; i < values.length; i += Math.max(1, Math.floor(values.length / 7))) {
      const was = values[i] as number;
      const step = 1e-5;
      values[i] = was + step;
      const up = loss();
      values[i] = was - step;
      const down = loss();
      values[i] = was;
      const difference = (up - down) / (2 * step);
      out = Math.max(out, Math.abs(difference - ((x[name] as Value).adjoint[i] as number)) / Math.max(1, Math.abs(difference)));
    }
  }
  return out;
}

const a = { h: 2, i: 3 };
const b = { i: 3, j: 4 };
const get =
  (f: (a: Value, b: Value) => Value) =>
  (x: Given): Value =>
    f(x.a as Value, x.b as Value);
const of = (f: (a: Value) => Value) => (x: Given) => f(x.a as Value);
const table = (v: Value, shape: Shape, f: (at: Readonly<Record<string, number>>) => number) => v.tape.table(shape, f);
/** On inputs a (h, i) and b (i, j), in ±1.5 or as said. */
const operations: Readonly<Record<string, readonly [(x: Given) => Value, (readonly [number, number])?]>> = {
  add: [get(add)],
  sub: [get(sub)],
  mul: [get(mul)],
  div: [get(div), [0.5, 2]],
  power: [
    of((a) =>
      power(
        a,
        table(a, { j: 4 }, ({ j = 0 }) => j),
      ),
    ),
    [0.5, 2],
  ],
  scale: [of((a) => scale(a, 0.7))],
  plus: [of((a) => plus(a, 0.7))],
  exp: [of(exp)],
  tanh: [of(tanh)],
  root: [of(root), [0.5, 2]],
  sigmoid: [of(sigmoid)],
  logSigmoid: [of(logSigmoid)],
  relu: [of(relu)],
  atLeast: [of((a) => atLeast(a, 0.3))],
  square: [of(square)],
  keep: [of((a) => keep(a, ({ h = 0, i = 0 }) => h !== 1 || i === 2, 5))],
  contract: [get((a, b) => contract(a, b, "i"))],
  "contract two": [get((a, b) => contract(mul(a, b), mul(b, a), "h", "j"))],
  total: [get((a, b) => total(mul(a, b), "i", "h"))],
  average: [of((a) => average(a, "i"))],
  softmax: [of((a) => softmax(a, "i"))],
  "softmax of pairs": [get((a, b) => softmax(mul(a, b), "i", "j"))],
  attend: [get((a, b) => attend(a, b, ["i"]))],
  "attend, one value for all": [get((a, b) => attend(add(a, b), rename(b, { j: "v" }), ["i"]))],
  "attend, a sink": [get((a, b) => attend(a, b, ["i"], pick(a, "i", 1)))],
  "attend, some masked": [
    get((a, b) =>
      attend(
        keep(a, ({ h = 0, i = 0 }) => h === 0 && i < 2),
        b,
        ["i"],
      ),
    ),
  ],
  cumsum: [of((a) => cumsum(a, "i"))],
  "cumsum from the end, exclusive": [of((a) => cumsum(a, "i", { reverse: true, exclusive: true }))],
  rename: [get((a, b) => mul(rename(a, { h: "j" }), pick(rename(b, { j: "k" }), "k", 1)))],
  split: [get((a, b) => contract(split(b, "j", { p: 2, q: 2 }), a, "i"))],
  pick: [of((a) => mul(pick(a, "i", 1), a))],
  shift: [get((_, b) => mul(shift(b, "j", 1), shift(b, "i", -2)))],
  gather: [
    get((a, b) =>
      mul(
        gather(
          b,
          "j",
          table(a, { h: 2, i: 3 }, ({ h = 0, i = 0 }) => 2 * h + i - 1),
        ),
        a,
      ),
    ),
  ],
};

describe("adjoints are what differences say", () => {
  it.each(Object.keys(operations))("%s", (name) => {
    const [f, [from, to] = [-1.5, 1.5]] = operations[name] as (typeof operations)[string];
    const data = { a: random(6, 3, from, to), b: random(12, 5, from, to) };
    expect(worst(f, { a, b }, data)).toBeLessThan(1e-8);
  });
  it.each(variants.map((v) => v.name))("%s", (name) => {
    const c = registered(name);
    const s = settingOf(name);
    const e: Extents = { batch: 2, rows: 5, cols: s.extents === "keys" ? s.cols : s.extents === "one" ? 5 : 4 };
    const shapes = Object.fromEntries(Object.entries(c.inputs).map(([n, l]) => [n, shapeAt(l.axes, e)]));
    expect(worst((x) => (dense[name] as Dense)(x, SPAN), shapes, c.draw(e, 1).inputs, c.real)).toBeLessThan(1e-7);
  });
});

describe("what differences do not see", () => {
  const tape = () => new Tape(exact);
  it("softmax of 1, 2, 3 and of a row masked whole", () => {
    const t = tape();
    const x = t.leaf({ i: 2, j: 3 }, Float64Array.of(1, 2, 3, -Infinity, -Infinity, -Infinity));
    const y = softmax(x, "j");
    const l = 1 + Math.E + Math.E ** 2;
    expect([...y.data]).toEqual([1 / l, Math.E / l, Math.E ** 2 / l, 0, 0, 0].map((v) => expect.closeTo(v, 12)));
    t.backward(y, Float64Array.of(1, 2, 3, 4, 5, 6));
    expect([...x.adjoint.slice(3)].map((v) => v + 0)).toEqual([0, 0, 0]);
  });
  it("a sink takes its share", () => {
    const t = tape();
    const y = attend(
      t.leaf({ j: 1 }, Float64Array.of(0)),
      t.leaf({ j: 1, v: 1 }, Float64Array.of(3)),
      ["j"],
      t.leaf({}, Float64Array.of(Math.log(2))),
    );
    expect(y.data[0]).toBeCloseTo(1, 12);
  });
  it("the greatest, ties to the lower index, −1 where there are fewer, and the margin", () => {
    const t = tape();
    const x = t.leaf({ i: 2, j: 4 }, Float64Array.of(1, 3, 3, 2.5, -Infinity, 7, 7, 7));
    expect([...greatest(x, "j", "s", 2).data]).toEqual([1, 2, 1, 2]);
    expect(t.margin).toBe(0.5);
    expect([...greatest(x, "j", "s", 5).data]).toEqual([1, 2, 3, 0, -1, 1, 2, 3, 0, -1]);
  });
  it("prefix sums, gathers and shifts read where they say", () => {
    const x = tape().leaf({ j: 3 }, Float64Array.of(1, 10, 100));
    expect([...cumsum(x, "j", { exclusive: true }).data]).toEqual([0, 1, 11]);
    expect([...cumsum(x, "j", { reverse: true }).data]).toEqual([111, 110, 100]);
    expect([...shift(x, "j", 1).data]).toEqual([0, 1, 10]);
    expect([...gather(x, "j", x.tape.leaf({ i: 4 }, Float64Array.of(2, -1, 0, 3))).data]).toEqual([100, 0, 1, 0]);
    const y = x.tape.leaf({ h: 2, j: 2 }, Float64Array.of(1, 2, 3, 4));
    expect([...gather(y, "j", x.tape.leaf({ h: 2 }, Float64Array.of(1, 0))).data]).toEqual([2, 3]);
    expect([...y.ordered(["j", "h"])]).toEqual([1, 3, 2, 4]);
  });
  it("empty axes", () => {
    const t = tape();
    const [s, v] = [t.leaf({ i: 2, j: 0 }, new Float64Array(0)), t.leaf({ j: 0, v: 3 }, new Float64Array(0))];
    expect([...attend(s, v, ["j"]).data]).toEqual([0, 0, 0, 0, 0, 0]);
    expect(count(softmax(t.leaf({ i: 0, j: 3 }, new Float64Array(0)), "j").shape)).toBe(0);
  });
  it("`single` rounds after every operation, `either` to a neighbour of what is between two floats", () => {
    const data = { a: random(6, 3).map(Math.fround), b: random(12, 5).map(Math.fround) };
    const y = (r: Rounding) => run((x) => attend(x.a as Value, x.b as Value, ["i"]), { a, b }, data, r).y.data;
    expect([...y(single)]).toEqual([...y(single)].map(Math.fround));
    expect([...y(single)]).not.toEqual([...y(exact)]);
    const error = (r: Rounding) => y(r).reduce((m, v, i) => Math.max(m, Math.abs(v - (y(exact)[i] as number))), 0);
    for (const r of [single, either(1), either(2)]) expect(error(r)).toBeLessThan(1e-6);
    const round = either(7);
    const seen = new Set(Array.from({ length: 99 }, () => round(1 + 2 ** -25)));
    expect([...seen].sort()).toEqual([1, 1 + 2 ** -23]);
    expect(new Set(Array.from({ length: 99 }, () => round(-0.1)))).toEqual(new Set([Math.fround(-0.1), Math.fround(-0.1) + 2 ** -27]));
    expect([round(1.5), round(0), round(Infinity)]).toEqual([1.5, 0, Infinity]);
  });
});

it("the dense forms import nothing but each other", () => {
  const folder = new URL(".", import.meta.url);
  const files = readdirSync(folder).filter((f) => !f.endsWith(".test.ts"));
  expect(files).toContain("variants.ts");
  for (const f of files)
    for (const [, from] of readFileSync(new URL(f, folder), "utf8").matchAll(/from "(.*)"/g)) expect(from, f).toMatch(/^\.\/\w+\.js$/);
});
