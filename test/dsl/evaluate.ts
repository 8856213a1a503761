// The meaning of a node by the plainest means: one number at a time, in f64, calling the author's own arrows after
// dsl/arrows.ts, Note [Calling convention]. Only for the small shapes of these tests.

import type { AnyTensor } from "../../dsl/index.js";
import type { Arrow, Loop, MapNode, MonoidBody, Node, Shape } from "../../dsl/node.js";
import { argsOf } from "../../dsl/node.js";
import { evalScalar } from "../../dsl/scalar-eval.js";
import { nodeOf } from "../../dsl/tensor.js";

type Value = number | boolean;
type At = Readonly<Record<string, number>>;
/** By leaf, its elements in the order of its axes. */
export type Given = Iterable<readonly [AnyTensor, readonly Value[]]>;

const sizesOf = (s: Shape): Record<string, number> => Object.fromEntries(Object.entries(s).map(([a, e]) => [a, e as number])); // no upTo here
function* points(s: Shape): Generator<At> {
  const axes = Object.entries(sizesOf(s));
  const count = axes.reduce((p, [, e]) => p * e, 1);
  for (let i = 0; i < count; i++) {
    let rest = i;
    const at: [string, number][] = [];
    for (const [a, e] of [...axes].reverse()) {
      at.unshift([a, rest % e]);
      rest = Math.floor(rest / e);
    }
    yield Object.fromEntries(at);
  }
}
const flat = (s: Shape, at: At): number => Object.entries(sizesOf(s)).reduce((i, [a, e]) => i * e + (at[a] as number), 0);
const inside = (s: Shape, at: At): boolean => Object.entries(sizesOf(s)).every(([a, e]) => (at[a] as number) >= 0 && (at[a] as number) < e);

class Evaluation {
  constructor(readonly known: Map<Node, readonly Value[]>) {}
  of(n: Node): readonly Value[] {
    const before = this.known.get(n);
    if (before) return before;
    for (const a of argsOf(n)) this.of(a);
    const made = [...points(n.axes)].map((at) => this.element(n, at));
    this.known.set(n, made);
    return made;
  }
  read(n: Node, at: At): Value {
    return inside(n.axes, at) ? (this.of(n)[flat(n.axes, at)] as Value) : n.dtype === "bool" ? false : 0;
  }
  element(n: Node, at: At): Value {
    switch (n.op) {
      case "constant":
        return n.value;
      case "map":
        return this.mapped(n, at);
      case "view": {
        const [x] = n.args;
        const sizes = { ...sizesOf(n.fresh), ...sizesOf(x.axes) };
        const { index } = n;
        const own = Object.fromEntries(Object.keys(n.fresh).map((a) => [a, at[a]]));
        const to: Record<string, number> =
          index.kind === "arrow"
            ? index.fn(own, { ...sizes, ...index.constants })
            : Object.fromEntries(Object.entries(index.at).map(([a, s]) => [a, evalScalar(s, { indices: at, sizes })]));
        return this.read(x, { ...at, ...to });
      }
      case "at": {
        const [x, ...indices] = n.args;
        return this.read(x, { ...at, ...Object.fromEntries(n.along.map((a, k) => [a, this.read(indices[k] as Node, at) as number])) });
      }
      case "fold": {
        const over = Object.fromEntries(n.over.map((o) => [o, n.args.map((a) => a.axes[o]).find((e) => e !== undefined) as number]));
        return this.run(
          n.monoid,
          n.args,
          [...points(over)].map((p) => ({ ...at, ...p })),
        )[n.field] as number;
      }
      case "scan": {
        const extent = n.axes[n.over] as number;
        const here = at[n.over] as number;
        const all = Array.from({ length: extent }, (_, i) => i).filter((i) => (n.reverse ? i >= here : i <= here) && !(n.exclusive && i === here));
        return this.run(
          n.monoid,
          n.args,
          (n.reverse ? all.reverse() : all).map((i) => ({ ...at, [n.over]: i })),
        )[n.field] as number;
      }
      case "top": {
        const [x] = n.args;
        const row = Array.from({ length: x.axes[n.over] as number }, (_, i) => [this.read(x, { ...at, [n.over]: i }) as number, i] as const);
        const best = row.sort((a, b) => b[0] - a[0] || a[1] - b[1]).slice(0, n.k);
        if (n.field === "chosen") return best.some(([, i]) => i === at[n.over]);
        const [v, i] = best[at[n.slot] as number] as readonly [number, number];
        return n.field === "value" ? v : i;
      }
      case "cast":
        return n.dtype === "i32" ? Math.trunc(this.read(n.args[0], at) as number) : this.read(n.args[0], at);
      case "stop":
      case "label":
        return this.read(n.args[0], at);
      case "carry":
        return this.loop(n.loop).carries[n.index]?.[flat(n.axes, at)] as Value;
      case "emit": {
        const inner = this.loop(n.loop).rounds[at[n.loop.axis] as number] as Evaluation;
        return inner.read(n.of, at);
      }
      default:
        throw new Error(`evaluate: ${n.op} has no value here`);
    }
  }
  mapped(n: MapNode, at: At): Value {
    const values = n.args.map((a) => this.read(a, Object.fromEntries(Object.keys(a.axes).map((x) => [x, at[x] as number]))));
    const sizes = sizesOf(n.axes);
    if (n.body.kind === "scalar")
      return evalScalar(n.body.body, { args: Object.fromEntries(n.names.map((k, i) => [k, values[i] as Value])), indices: at, sizes });
    const { fn, captured, field } = n.body;
    const record = { ...Object.fromEntries(n.names.map((k, i) => [k, values[i]])), ...captured };
    const first = n.names[0] === "" ? [values[0]] : Object.keys(record).length === 0 ? [] : [record];
    const out = fn(...first, at, sizes);
    return field === null ? out : out[field];
  }
  run(m: MonoidBody, args: readonly Node[], where: readonly At[]): Record<string, number> {
    if (m.combine.kind !== "arrow") throw new Error("evaluate: the language's own folds are arrows");
    const names = Object.keys(m.empty);
    const combine: Arrow = m.combine.fn;
    return where.reduce<Record<string, number>>(
      (acc, at) => combine(acc, Object.fromEntries(names.map((c, i) => [c, this.read(args[i] as Node, at)]))),
      m.empty,
    );
  }
  readonly loops = new Map<Loop, { readonly carries: readonly (readonly Value[])[]; readonly rounds: readonly Evaluation[] }>();
  loop(l: Loop) {
    const before = this.loops.get(l);
    if (before) return before;
    let carries = l.init.map((n) => this.of(n));
    const rounds: Evaluation[] = [];
    for (let k = 0; k < l.count; k++) {
      const i = l.reverse ? l.count - 1 - k : k;
      const round = new Evaluation(new Map(this.known));
      l.carry.forEach((p, c) => void round.known.set(p, carries[c] as readonly Value[]));
      l.slices.forEach(
        (p, s) =>
          void round.known.set(
            p,
            [...points(p.axes)].map((at) => this.read(l.xs[s] as Node, { ...at, [l.axis]: i })),
          ),
      );
      round.known.set(l.counter, [i]);
      const next = l.next.map((n, c) => [...points((l.init[c] as Node).axes)].map((at) => round.read(n, at)));
      carries = next;
      rounds[i] = round;
    }
    const made = { carries, rounds };
    this.loops.set(l, made);
    return made;
  }
}
/** The elements in the order of the node's axes. */
export const evaluate = (x: AnyTensor, given: Given = []): readonly Value[] =>
  new Evaluation(new Map([...given].map(([t, v]) => [nodeOf(t, "given"), v]))).of(nodeOf(x, "evaluate"));
export const numbers = (n: number, f: (i: number) => number = (i) => Math.sin(i * 1.7 + 0.3)): readonly number[] =>
  Array.from({ length: n }, (_, i) => f(i));
