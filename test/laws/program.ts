// Random well-typed programs. A program is a list of numbers: sizes, inputs, and steps, each an operation with picks. A
// step chooses its operands by number among the values at hand that fit it, so that any list, and thus every shrunk one, is a
// program; a step for which nothing fits is left out. The same steps print as source.
//
// So that values mean the same in f32 and f64, each carries what is known of it: whether it is exact (a multiple of
// 2^-bits of a bounded size, which f32 holds), and how large it may be. What has jumps (comparisons, roundings, selections,
// casts) is applied to exact values alone; smooth functions are bounded ones.
import fc from "fast-check";
import * as build from "../../dsl/build.js";
import { isFloat } from "../../dsl/derivative/terms.js";
import { type Leaf, type Node, UpTo } from "../../dsl/node.js";
import { input, numbers } from "../graph/harness.js";
import { loose as l, type R } from "../graph/loose.js";
import { choose, cut, exact, keep, logic, monoids, smooth, tests } from "./arrows.js";
import { weighed } from "./cases.js";
import type { Case } from "./judge.js";

export interface Step {
  readonly op: string;
  readonly picks: readonly number[];
}
export interface Program {
  readonly sizes: readonly number[];
  /** The extent of axis k is known at run time only. */
  readonly running: number;
  readonly inputs: readonly { readonly kind: number; readonly axes: number }[];
  readonly steps: readonly Step[];
  readonly seed: number;
}

interface Value {
  readonly name: string;
  readonly node: Node;
  /** Bits below the binary point; null: not exact. */
  readonly bits: number | null;
  readonly size: number;
}
const NAMES = ["i", "j", "k", "t"] as const;
const LIMIT = 400;

const { linear, online } = Object.fromEntries(Object.entries(monoids).map(([name, m]) => [name, l.monoid(m.empty, m.concat)])) as R;
const turn = ({ i }: R, { i: n }: R) => ({ i: (i + 2) % n });
const flip = ({ i }: R, { i: n }: R) => ({ i: n - 1 - i });
const shift = ({ i }: R) => ({ i: i - 1 });
const stride = ({ i }: R) => ({ i: 2 * i });
const near = ({ a }: R, at: R, size: R) => (at.i <= size.i - 2 ? a : 0.5 * a);
const place = ({ a, s }: R, { i }: R, { i: n }: R) => a * (0.5 + i / (n + 1)) + s;

let runtime = 0;
class Builder {
  readonly values: Value[] = [];
  readonly lines: string[] = [];
  readonly leaves = new Map<Leaf, Float64Array>();
  readonly extents = new Map<UpTo, number>();
  readonly random: () => number;
  readonly shape: Record<string, number | UpTo> = {};
  #picks: readonly number[] = [];
  #next = 0;
  #names = 0;
  /** Deeper in a loop: no further loops, no gradients. */
  depth = 0;
  indent = "";
  constructor(readonly program: Program) {
    this.random = numbers(program.seed * 31 + 7);
    for (const [k, name] of NAMES.entries()) {
      const n = program.sizes[k] ?? 1;
      if (k !== program.running) {
        this.shape[name] = n;
        continue;
      }
      const up = new UpTo(n + 2, `extent${runtime++}_${name}`);
      this.shape[name] = up;
      this.extents.set(up, n);
      this.lines.push(`const ${name} = upTo(${n + 2}); // ${n} in this run`);
    }
  }
  extent = (e: number | UpTo): number => (e instanceof UpTo ? (this.extents.get(e) as number) : e);
  count = (n: Node): number => Object.values(n.axes).reduce<number>((p, e) => p * this.extent(e), 1);
  fits = (n: Node): boolean => this.count(n) <= LIMIT && Object.keys(n.axes).length <= 4;

  /** The next pick below n. */
  pick(n: number): number {
    const p = this.#picks[this.#next++ % Math.max(1, this.#picks.length)] ?? 0;
    return n === 0 ? 0 : p % n;
  }
  one<T>(xs: readonly T[]): T {
    return xs[this.pick(xs.length)] as T;
  }
  /** The latest values are picked first: chains grow. */
  value(fit: (v: Value) => boolean): Value | undefined {
    const all = this.values.filter(fit).reverse();
    return all.length === 0 ? undefined : this.one(all.slice(0, 6));
  }
  push(text: string, node: Node, bits: number | null, size: number): Value | undefined {
    if (!this.fits(node)) return undefined;
    if (bits !== null && (bits > 12 || size * 2 ** bits > 2 ** 22)) return undefined; // no longer exact in f32
    const v = { name: `v${this.#names++}`, node, bits, size };
    this.values.push(v);
    this.lines.push(`${this.indent}const ${v.name} = ${text};`);
    return v;
  }
  input({ kind, axes }: { readonly kind: number; readonly axes: number }): void {
    const chosen = NAMES.filter((_, i) => (axes >> i) & 1).slice(0, 3);
    if (axes & 16) chosen.reverse();
    const shape = Object.fromEntries(chosen.map((a) => [a, this.shape[a] as number | UpTo]));
    const dtype = (["f32", "f32", "f32", "bf16", "f16", "f32", "i32", "bool"] as const)[kind % 8] as Leaf["dtype"];
    const precise = kind % 8 >= 3 || kind % 8 === 1;
    const leaf = input(shape, dtype);
    const made = this.push(
      `input({ ${chosen.map((a) => `${a}: ${this.showSize(a)}`).join(", ")} }, "${dtype}")`,
      leaf,
      dtype === "f32" && !precise ? null : dtype === "i32" || dtype === "bool" ? 0 : 2,
      dtype === "i32" ? 3 : 2,
    );
    if (!made) return;
    const draw = () => {
      const x = this.random();
      if (dtype === "bool") return x < 0.6 ? 1 : 0;
      if (dtype === "i32") return Math.floor(x * 6) - 2;
      return precise ? (Math.floor(x * 17) - 8) / 4 : Math.fround(4 * x - 2);
    };
    this.leaves.set(leaf, Float64Array.from({ length: this.count(leaf) }, draw));
  }
  showSize = (a: string): string => (this.shape[a] instanceof UpTo ? a : String(this.shape[a]));
  step(s: Step): void {
    this.#picks = s.picks;
    this.#next = 0;
    operations[s.op]?.(this);
  }
  fresh = (): string => `x${this.#names}`;
}

const real = (v: Value) => v.node.dtype !== "bool";
const isExact = (v: Value) => real(v) && v.bits !== null;
const mask = (v: Value) => v.node.dtype === "bool";
const has = (axis: string) => (v: Value) => axis in v.node.axes;
const axesOf = (v: Value) => Object.keys(v.node.axes);
const fixed = (v: Value, a: string): number | undefined => (typeof v.node.axes[a] === "number" ? (v.node.axes[a] as number) : undefined);
/** Bounds of what the smooth arrows give. */
const bounded = (v: Value) => real(v) && v.size <= 64;
const named = (names: Readonly<Record<string, Value>>) =>
  `{ ${Object.entries(names)
    .map(([k, v]) => `${k}: ${v.name}`)
    .join(", ")} }`;
const nodes = (values: Readonly<Record<string, Value>>): R => Object.fromEntries(Object.entries(values).map(([k, v]) => [k, v.node]));
/** The names an arrow reads in its first parameter. */
const reads = (f: (...x: never[]) => unknown): readonly string[] =>
  (/\{([^}]*)\}/.exec(f.toString())?.[1] ?? "")
    .split(",")
    .map((s) => s.trim())
    .filter(Boolean);
const source = (f: (...x: never[]) => unknown): string => f.toString().replace(/\s+/g, " ");

/** Sizes agree by name, for two values to meet. */
const agrees = (x: Value) => (y: Value) => Object.entries(y.node.axes).every(([a, e]) => !(a in x.node.axes) || x.node.axes[a] === e);
function operands(b: Builder, names: readonly string[], fit: (v: Value) => boolean): Record<string, Value> | undefined {
  const out: Record<string, Value> = {};
  for (const n of names) {
    const v = b.value((v) => fit(v) && Object.values(out).every((o) => agrees(o)(v)));
    if (!v) return undefined;
    out[n] = v;
  }
  return out;
}

const operations: Readonly<Record<string, (b: Builder) => unknown>> = {
  smooth: (b) => {
    const f = b.one(Object.values(smooth)) as R;
    const args = operands(b, reads(f), bounded);
    if (!args) return;
    const size = 1 + 2 * Math.max(...Object.values(args).map((v) => v.size));
    return b.push(`map(${named(args)}, ${source(f)})`, l.map(nodes(args), f), null, size);
  },
  exact: (b) => {
    const name = b.one(Object.keys(exact)) as keyof typeof exact;
    const f = exact[name] as R;
    const args = operands(b, reads(f), isExact);
    if (!args) return;
    const values = Object.values(args);
    const [bits, size] = [Math.max(...values.map((v) => v.bits as number)), Math.max(...values.map((v) => v.size))];
    const [more, larger] = name === "mul" ? [2 * bits, size * size] : name === "half" ? [bits + 1, size] : [Math.max(1, bits), 2 * size + 1.5];
    return b.push(`map(${named(args)}, ${source(f)})`, l.map(nodes(args), f), more, larger);
  },
  test: (b) => {
    const f = b.one(Object.values(tests)) as R;
    const args = operands(b, reads(f), isExact);
    return args && b.push(`map(${named(args)}, ${source(f)})`, l.map(nodes(args), f), 0, 1);
  },
  logic: (b) => {
    const f = b.one(Object.values(logic)) as R;
    const args = operands(b, reads(f), mask);
    return args && b.push(`map(${named(args)}, ${source(f)})`, l.map(nodes(args), f), 0, 1);
  },
  keep: (b) => {
    const p = b.value(mask);
    const a = p && b.value((v) => real(v) && agrees(p)(v));
    if (!p || !a) return;
    const c = b.value((v) => real(v) && agrees(p)(v) && agrees(a)(v));
    if (c && b.pick(2)) {
      const bits = a.bits !== null && c.bits !== null ? Math.max(a.bits, c.bits) : null;
      return b.push(`map(${named({ p, a, b: c })}, ${source(choose)})`, l.map(nodes({ p, a, b: c }), choose), bits, Math.max(a.size, c.size));
    }
    return b.push(`map(${named({ p, a })}, ${source(keep)})`, l.map(nodes({ p, a }), keep), a.bits, a.size);
  },
  indexed: (b) => {
    const a = b.value((v) => bounded(v) && has("i")(v));
    if (!a) return;
    if (a.bits !== null && b.pick(2)) return b.push(`map(${named({ a })}, ${source(near)})`, l.map({ a: a.node }, near), a.bits + 1, a.size);
    return b.push(`map({ a: ${a.name}, s: 0.25 }, ${source(place)})`, l.map({ a: a.node, s: 0.25 }, place), null, 2 * a.size + 1);
  },
  sum: (b) => {
    const x = b.value((v) => real(v) && axesOf(v).length > 0);
    if (!x) return;
    const over = axesOf(x).filter((_, i) => i === b.pick(axesOf(x).length) || b.pick(3) === 0);
    if (over.length === 0) over.push(axesOf(x)[0] as string);
    const many = over.reduce((p, a) => p * b.extent(x.node.axes[a] as number | UpTo), 1);
    const f = b.one(["sum", "mean", "norm", "logSumExp"] as const);
    const text = `${f}(${x.name}, ${over.map((o) => `"${o}"`).join(", ")})`;
    if (f === "sum") return b.push(text, l.sum(x.node, ...over), x.bits, x.size * Math.max(1, many));
    if (many === 0 && f !== "norm") return; // 0/0 and −∞
    if (f === "norm") {
      // √ has no derivative at 0: what it is of is kept away from it.
      const y = b.push(
        `map(${x.name}, (x) => x * x + 0.25)`,
        l.map(x.node, (x: number) => x * x + 0.25),
        null,
        x.size * x.size + 1,
      );
      return y && b.push(text.replace(x.name, y.name), l.norm(y.node, ...over), null, y.size * Math.max(1, many));
    }
    return b.push(text, l[f](x.node, ...over), null, x.size + 8);
  },
  extreme: (b) => {
    const x = b.value((v) => isExact(v) && axesOf(v).some((a) => b.extent(v.node.axes[a] as number | UpTo) > 0));
    if (!x) return;
    const over = b.one(axesOf(x).filter((a) => b.extent(x.node.axes[a] as number | UpTo) > 0));
    const f = b.one(["max", "min", "argMax"] as const);
    if (f === "argMax") return b.push(`argMax(${x.name}, "${over}")`, l.argMax(x.node, over), 0, 64);
    return b.push(`${f}(${x.name}, "${over}")`, l[f](x.node, over), x.bits, x.size);
  },
  prod: (b) => {
    const x = b.value((v) => bounded(v) && axesOf(v).length > 0);
    if (!x) return;
    const over = b.one(axesOf(x));
    const y = b.push(
      `map(${x.name}, (x) => 1 + 0.5 * Math.tanh(x))`,
      l.map(x.node, (x: number) => 1 + 0.5 * Math.tanh(x)),
      null,
      1.5,
    );
    if (!y || b.extent(x.node.axes[over] as number | UpTo) > 9) return;
    return b.push(`prod(${y.name}, "${over}")`, l.prod(y.node, over), null, 40);
  },
  softmax: (b) => {
    const x = b.value((v) => bounded(v) && axesOf(v).length > 0);
    if (!x) return;
    const over = b.one(axesOf(x));
    const p = b.value((v) => mask(v) && agrees(x)(v));
    if (p && b.pick(2)) {
      const s = l.map(nodes({ p, a: x }), cut);
      if (!b.fits(s)) return;
      return b.push(`softmax(map(${named({ p, a: x })}, ${source(cut)}), "${over}")`, l.softmax(s, over), null, 1);
    }
    return b.push(`softmax(${x.name}, "${over}")`, l.softmax(x.node, over), null, 1);
  },
  rms: (b) => {
    const x = b.value((v) => bounded(v) && axesOf(v).some((a) => b.extent(v.node.axes[a] as number | UpTo) > 0));
    if (!x) return;
    const over = b.one(axesOf(x).filter((a) => b.extent(x.node.axes[a] as number | UpTo) > 0));
    return b.push(`rms(${x.name}, "${over}", { eps: 0.1 })`, l.rms(x.node, over, { eps: 0.1 }), null, 4);
  },
  dot: (b) => {
    const x = b.value((v) => bounded(v) && axesOf(v).length > 0);
    const y = x && b.value((v) => bounded(v) && agrees(x)(v) && axesOf(v).some((a) => a in x.node.axes));
    if (!x || !y) return;
    const shared = axesOf(x).filter((a) => a in y.node.axes);
    const over = shared.length > 1 && b.pick(3) === 0 ? shared.slice(0, 2) : [b.one(shared)];
    const many = over.reduce((p, a) => p * b.extent(x.node.axes[a] as number | UpTo), 1);
    const bits = x.bits !== null && y.bits !== null ? x.bits + y.bits : null;
    return b.push(
      `dot(${x.name}, ${y.name}, ${over.map((o) => `"${o}"`).join(", ")})`,
      l.dot(x.node, y.node, ...over),
      bits,
      Math.max(1, many) * x.size * y.size,
    );
  },
  arithmetic: (b) => {
    const x = b.value(bounded);
    const y = x && b.value((v) => bounded(v) && agrees(x)(v));
    if (!x || !y) return;
    const f = b.one(["add", "sub", "mul"] as const);
    const both = x.bits !== null && y.bits !== null;
    const bits = both ? (f === "mul" ? (x.bits as number) + (y.bits as number) : Math.max(x.bits as number, y.bits as number)) : null;
    return b.push(`${f}(${x.name}, ${y.name})`, l[f](x.node, y.node), bits, f === "mul" ? x.size * y.size : x.size + y.size);
  },
  scan: (b) => {
    const x = b.value((v) => bounded(v) && axesOf(v).length > 0);
    if (!x) return;
    const over = b.one(axesOf(x));
    const o = b.one([{}, { exclusive: true }, { reverse: true }, { exclusive: true, reverse: true }]);
    const n = b.extent(x.node.axes[over] as number | UpTo);
    const text = JSON.stringify(o);
    if (b.pick(2)) return b.push(`cumsum(${x.name}, "${over}", ${text})`, l.cumsum(x.node, over, o), x.bits, x.size * Math.max(1, n));
    const a = b.push(
      `map(${x.name}, (x) => 0.5 + 0.25 * Math.sin(x))`,
      l.map(x.node, (x: number) => 0.5 + 0.25 * Math.sin(x)),
      null,
      1,
    );
    return (
      a &&
      b.push(
        `scan({ a: ${a.name}, b: ${x.name} }, linear, "${over}", ${text}).b`,
        l.scan({ a: a.node, b: x.node }, linear, over, o).b,
        null,
        4 * x.size,
      )
    );
  },
  monoid: (b) => {
    const x = b.value((v) => bounded(v) && axesOf(v).some((a) => b.extent(v.node.axes[a] as number | UpTo) > 0));
    if (!x) return;
    const over = b.one(axesOf(x).filter((a) => b.extent(x.node.axes[a] as number | UpTo) > 0));
    const s = l.stopGradient(x.node);
    const { l: sum, o } = l.fold({ m: s, l: l.map(s, () => 1), o: x.node }, online, over);
    return b.push(`onlineSoftmaxMean(${x.name}, "${over}")`, l.div(o, sum), null, x.size);
  },
  rename: (b) => {
    const x = b.value((v) => axesOf(v).length > 0);
    if (!x) return;
    const from = b.one(axesOf(x));
    const to = b.fresh();
    return b.push(`rename(${x.name}, { ${from}: "${to}" })`, l.rename(x.node, { [from]: to }), x.bits, x.size);
  },
  shape: (b) => {
    const x = b.value((v) => axesOf(v).some((a) => fixed(v, a) !== undefined));
    if (!x) return;
    const axis = b.one(axesOf(x).filter((a) => fixed(x, a) !== undefined));
    const n = fixed(x, axis) as number;
    const to = b.fresh();
    // Other sizes have other names.
    const put = (text: string, made: R) => b.push(`rename(${text}, { ${axis}: "${to}" })`, l.rename(made, { [axis]: to }), x.bits, x.size);
    switch (b.pick(6)) {
      case 0:
        return n > 0 && put(`slice(${x.name}, "${axis}", { from: 1, size: ${n - 1} })`, l.slice(x.node, axis, { from: 1, size: n - 1 }));
      case 1:
        return put(`pad(${x.name}, "${axis}", { before: 1, size: ${n + 2} })`, l.pad(x.node, axis, { before: 1, size: n + 2 }));
      case 2:
        return (
          n % 2 === 0 &&
          b.push(`split(${x.name}, "${axis}", { ${to}: ${n / 2}, ${to}b: 2 })`, l.split(x.node, axis, { [to]: n / 2, [`${to}b`]: 2 }), x.bits, x.size)
        );
      case 3: {
        const other = axesOf(x).find((a) => a !== axis && fixed(x, a) !== undefined);
        return (
          other !== undefined && b.push(`merge(${x.name}, ["${axis}", "${other}"], "${to}")`, l.merge(x.node, [axis, other], to), x.bits, x.size)
        );
      }
      case 4: {
        const y = b.value((v) => v.node.dtype === x.node.dtype && agrees(x)(v) && has(axis)(v));
        const bits = y && x.bits !== null && y.bits !== null ? Math.max(x.bits, y.bits) : null;
        const made = y && l.concat(x.node, y.node, axis);
        return (
          y &&
          b.push(
            `rename(concat(${x.name}, ${y.name}, "${axis}"), { ${axis}: "${to}" })`,
            l.rename(made, { [axis]: to }),
            bits,
            Math.max(x.size, y.size),
          )
        );
      }
      default:
        return b.push(`taps(${x.name}, "${axis}", { ${to}: 2 })`, l.taps(x.node, axis, { [to]: 2 }), x.bits, x.size);
    }
  },
  view: (b) => {
    const x = b.value((v) => fixed(v, "i") !== undefined);
    if (!x) return;
    const n = fixed(x, "i") as number;
    const f = b.one([turn, flip, shift, stride]);
    return n > 0 && b.push(`view(${x.name}, { i: ${n} }, ${source(f)})`, l.view(x.node, { i: n }, f), x.bits, x.size);
  },
  diagonal: (b) => {
    const x = b.value((v) => has("i")(v) && has("j")(v) && v.node.axes.i === v.node.axes.j);
    return (
      x &&
      b.push(
        `view(${x.name}, sizes(${x.name}, "i"), ({ i }) => ({ i, j: i }))`,
        l.view(x.node, { i: x.node.axes.i }, ({ i }: R) => ({ i, j: i })),
        x.bits,
        x.size,
      )
    );
  },
  stack: (b) => {
    const x = b.value(real);
    const y = x && b.value((v) => real(v) && axesOf(v).length === axesOf(x).length && axesOf(v).every((a) => v.node.axes[a] === x.node.axes[a]));
    const bits = x && y && x.bits !== null && y.bits !== null ? Math.max(x.bits, y.bits) : null;
    const axis = b.fresh();
    return x && y && b.push(`stack("${axis}", ${x.name}, ${y.name})`, l.stack(axis, x.node, y.node), bits, Math.max(x.size, y.size));
  },
  at: (b) => {
    const x = b.value((v) => axesOf(v).length > 0);
    if (!x) return;
    const axis = b.one(axesOf(x));
    const n = fixed(x, axis);
    if (n !== undefined && n > 0 && b.pick(3) === 0)
      return b.push(`at(${x.name}, { ${axis}: ${n - 1} })`, l.at(x.node, { [axis]: n - 1 }), x.bits, x.size);
    const rest = { ...x, node: { ...x.node, axes: Object.fromEntries(Object.entries(x.node.axes).filter(([a]) => a !== axis)) } as Node };
    const index = b.value((v) => v.node.dtype === "i32" && agrees(rest)(v));
    return index && b.push(`at(${x.name}, { ${axis}: ${index.name} })`, l.at(x.node, { [axis]: index.node }), x.bits, x.size);
  },
  top: (b) => {
    const x = b.value((v) => isExact(v) && axesOf(v).some((a) => (fixed(v, a) ?? 0) > 1));
    if (!x) return;
    const axis = b.one(axesOf(x).filter((a) => (fixed(x, a) ?? 0) > 1));
    const f = b.one(["value", "index", "chosen"] as const);
    const slot = b.fresh();
    return b.push(
      `top(${x.name}, "${axis}", { ${slot}: 2 }).${f}`,
      l.top(x.node, axis, { [slot]: 2 })[f],
      f === "value" ? x.bits : 0,
      f === "value" ? x.size : 64,
    );
  },
  cast: (b) => {
    const x = b.value((v) => v.bits !== null);
    if (!x) return;
    const to = b.one(["f32", "bf16", "f16", "i32"] as const);
    if (to === x.node.dtype) return;
    return b.push(`cast(${x.name}, "${to}")`, l.cast(x.node, to), to === "i32" ? 0 : x.bits, 2 * x.size);
  },
  random: (b) => {
    const x = b.value((v) => bounded(v));
    if (!x) return;
    const f = b.one(["uniform", "normal"] as const);
    const key = b.fresh();
    const step = b.value((v) => v.node.dtype === "i32" && axesOf(v).length === 0);
    const k = step ? l.keys(key)(step.node) : l.keys(key);
    return b.push(
      `mul(${x.name}, ${f}(keys("${key}")${step ? `(${step.name})` : ""}, sizes(${x.name})))`,
      l.mul(x.node, l[f](k, x.node.axes)),
      null,
      6 * x.size,
    );
  },
  stop: (b) => {
    const x = b.value(real);
    return x && b.push(`stopGradient(${x.name})`, l.stopGradient(x.node), x.bits, x.size);
  },
  grad: (b) => {
    if (b.depth > 0) return;
    const x = b.value((v) => v.node.op === "leaf" && v.node.dtype === "f32");
    const y = b.value((v) => bounded(v) && isFloat(v.node) && v.node.op !== "leaf" && axesOf(v).length > 0);
    if (!x || !y) return;
    const loss = l.sum(
      l.map(y.node, (y: number) => Math.sin(y)),
      ...axesOf(y),
    );
    const g = b.push(
      `grad(sum(map(${y.name}, (y) => Math.sin(y)), ${axesOf(y)
        .map((a) => `"${a}"`)
        .join(", ")}), ${x.name})`,
      l.grad(loss, x.node),
      null,
      64,
    );
    return (
      g &&
      b.push(
        `map(${g.name}, (a) => Math.tanh(a))`,
        l.map(g.node, (a: number) => Math.tanh(a)),
        null,
        1,
      )
    );
  },
  loop: (b) => {
    if (b.depth > 1) return;
    const x = b.value((v) => bounded(v) && v.node.dtype === "f32");
    if (!x) return;
    const stacked = b.value((v) => bounded(v) && axesOf(v).some((a) => fixed(v, a) !== undefined && !(a in x.node.axes)));
    const axis = stacked && axesOf(stacked).find((a) => fixed(stacked, a) !== undefined && !(a in x.node.axes));
    const inside = Array.from({ length: 1 + b.pick(3) }, () => ({ op: b.one(insideLoops), picks: Array.from({ length: 4 }, () => b.pick(97)) }));
    const count = stacked && axis ? (fixed(stacked, axis) as number) : 1 + b.pick(3);
    const name = axis ?? "step";
    if (!stacked && name in x.node.axes) return;
    const head = b.lines.length;
    const indent = b.indent;
    const before = b.values.length;
    const made = l.repeat(count, { axis: name, state: { s: x.node }, xs: stacked ? { w: stacked.node } : {} }, ({ s }: R, { w }: R, counter: R) => {
      b.depth++;
      b.indent += "  ";
      const size = Math.max(8, x.size);
      const state: Value = { name: "s", node: s, bits: null, size };
      const bound: Value[] = [state, { name: "counter", node: counter, bits: 0, size: 16 }];
      if (w) bound.push({ name: "w", node: w, bits: null, size: (stacked as Value).size });
      b.values.push(...bound);
      for (const step of inside) b.step(step);
      // The last value, brought to the state's axes.
      const last =
        b.values
          .slice(before)
          .reverse()
          .find((v) => real(v) && !bound.includes(v)) ?? state;
      const over = axesOf(last).filter((a) => s.axes[a] !== last.node.axes[a]);
      const y = over.length ? l.sum(last.node, ...over) : last.node;
      const text = over.length ? `sum(${last.name}, ${over.map((a) => `"${a}"`).join(", ")})` : last.name;
      b.lines.push(`${b.indent}return { s: map({ s, y: ${text} }, ({ s, y }) => 0.5 * s + Math.tanh(y)) };`);
      b.depth--;
      b.indent = indent;
      b.values.length = before;
      return { s: l.map({ s, y }, ({ s, y }: R) => 0.5 * s + Math.tanh(y)) };
    }).s;
    const body = b.lines.splice(head);
    const xs = stacked ? `, xs: { w: ${stacked.name} }` : "";
    const text = `repeat(${count}, { axis: "${name}", state: { s: ${x.name} }${xs} }, ({ s }, ${stacked ? "{ w }" : "_"}, counter) => {\n${body.join("\n")}\n${indent}}).s`;
    return b.push(text, made, null, Math.max(8, x.size));
  },
};
const insideLoops = [
  "smooth",
  "dot",
  "sum",
  "softmax",
  "indexed",
  "arithmetic",
  "scan",
  "rename",
  "at",
  "keep",
  "view",
  "random",
  "rms",
  "monoid",
  "loop",
];
const weights: Readonly<Record<string, number>> = {
  smooth: 6,
  exact: 4,
  dot: 5,
  sum: 4,
  arithmetic: 3,
  loop: 3,
  shape: 4,
  softmax: 2,
  at: 2,
  keep: 2,
};
const opNames = Object.keys(operations).flatMap((op) => Array.from({ length: weights[op] ?? 1 }, () => op));

export const programs: fc.Arbitrary<Program> = fc.record({
  sizes: fc.array(fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 0, 9, 16, 17), { minLength: 4, maxLength: 4 }),
  running: fc.constantFrom(9, 9, 9, 0, 2),
  inputs: fc.array(fc.record({ kind: fc.nat(7), axes: fc.nat(31) }), { minLength: 2, maxLength: 5 }),
  steps: fc.array(fc.record({ op: fc.constantFrom(...opNames), picks: fc.array(fc.nat(96), { minLength: 1, maxLength: 8 }) }), {
    minLength: 3,
    maxLength: 12,
  }),
  seed: fc.nat(9999),
});

let built = 0;
/** The case of a program: its last values, what nothing else reads, and the gradients of their weighted sum. */
export function caseOfProgram(p: Program): { readonly case: Case; readonly text: string } {
  const b = new Builder(p);
  for (const i of p.inputs) b.input(i);
  for (const s of p.steps) b.step(s);
  const results = b.values.filter((v) => v.node.op !== "leaf");
  const kept = (results.length > 0 ? results : b.values).slice(-3);
  const outputs = Object.fromEntries(kept.map((v) => [v.name, v.node]));
  const size = (n: Node) => b.count(n);
  const drawn = [...b.leaves.keys()].filter(isFloat);
  const loss = weighed(Object.values(outputs), b.leaves, () => (Math.floor(b.random() * 9) - 4) / 4, size);
  const gradients = loss
    ? Object.fromEntries(drawn.slice(0, 3).map((x) => [b.values.find((v) => v.node === x)?.name ?? "?", build.grad(loss, x)]))
    : {};
  const text = [
    ...b.lines,
    `outputs ${Object.keys(outputs).join(", ")}; gradients of their weighted sum by ${Object.keys(gradients).join(", ") || "nothing"}`,
  ].join("\n");
  return { case: { name: `program ${built++}`, inputs: b.leaves, outputs, gradients, extents: b.extents, few: Infinity }, text };
}
