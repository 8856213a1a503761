// One rule on one weight: the weight's axes merged to those that the rule is over, and back; its states; its rate; and the
// bound of its step, from the sizes of one layer's matrix.
import { product } from "./arith.js";
import * as build from "./build.js";
import { showShape } from "./build.js";
import { quote, RuleError } from "./errors.js";
import type { Node, ParamInfo, Shape } from "./node.js";
import { complete, type Definition, type Nodes, type Sides, type StepSize } from "./rule.js";
import * as scalar from "./scalar.js";
import { isNode, names, nodeOf, omit } from "./tensor.js";
import { joinedIndex, partIndices, viewBy } from "./view.js";

export interface Moved {
  readonly w: Node;
  readonly s: Nodes;
}
export interface Fit {
  initial(): Nodes;
  update(x: { readonly w: Node; readonly g: Node; readonly lr: Node; readonly t: Node; readonly rate: Node | undefined }, s: unknown): Moved;
}
type Side = readonly (readonly [string, number])[];

/** How a rule sees a weight: its axes merged to those the rule is over, and back. */
export function fit(path: string, w: Node, r: Definition): Fit {
  const { to, from } = r.over === "" ? { to: [], from: [] } : sides(path, w, r);
  const sideOf: Readonly<Record<string, Side>> = { out: to, in: from };
  const merged = [...to, ...from].map(([a]) => a);
  const rest = omit(w.axes, merged);
  const seen: Sides = r.over === "" ? own(w, r) : { to: ["out"], from: ["in"] };
  /** The state's axes as they are kept: like the weight's, where its spec has them. */
  const shape = (spec: string): Shape => {
    if (r.over === "") return w.axes;
    const gone = Object.entries(sideOf).flatMap(([name, side]) => (spec.split(" ").includes(name) ? [] : side.map(([a]) => a)));
    return omit(w.axes, gone);
  };
  /** Merged axes that x has, into `out` and `in`. */
  const matrix = (x: Node): Node => {
    const made: Record<string, number> = {};
    let at: Readonly<Record<string, scalar.Scalar>> = {};
    for (const [name, side] of Object.entries(sideOf)) {
      if (!side.some(([a]) => a in x.axes)) continue;
      made[name] = side.reduce((p, [, e]) => p * e, 1);
      const parts = partIndices(side, scalar.index(name));
      at = { ...at, ...Object.fromEntries(Object.entries(parts).filter(([a]) => a in x.axes)) };
    }
    return Object.keys(made).length === 0 ? x : viewBy(x, made, at);
  };
  /** And back, in the order of `like`. */
  const back = (x: Node, like: Shape): Node => {
    const present = Object.entries(sideOf).filter(([name, side]) => side.length > 0 && name in x.axes);
    if (present.length === 0) return ordered(x, like);
    const parts = present.flatMap(([, side]) => side.map(([a]) => a));
    const made = Object.fromEntries(Object.entries(like).filter(([a]) => parts.includes(a)));
    return ordered(viewBy(x, made, Object.fromEntries(present.map(([name, side]) => [name, joinedIndex(side)]))), like);
  };
  return {
    initial: () => Object.fromEntries(Object.entries(r.state).map(([s, spec]) => [s, filled(r.initial[s] ?? 0, shape(spec))])),
    update: ({ w, g, lr, t, rate }, s) => {
      const states = Object.fromEntries(
        Object.keys(r.state).map((k) => {
          const n: unknown = typeof s === "object" && s !== null && !isNode(s) ? Reflect.get(s, k) : undefined;
          if (!isNode(n)) throw new RuleError(`each: the state lacks "${k}" of "${path}"`, "a state comes from this optimizer's own init or update");
          return [k, matrix(n)];
        }),
      );
      if (rate)
        for (const a of names(rate.axes))
          if (rate.axes[a] !== w.axes[a])
            throw new RuleError(`each: the rate of "${path}" has axis "${a}", which the weight ${a in w.axes ? "has in another size" : "lacks"}`);
      const out = r.body({ w: matrix(w), g: matrix(g), lr: rate ? matrix(product(lr, rate)) : lr, t, ...states }, seen);
      complete(`the rule of "${path}"`, Object.keys(r.state), out);
      const result = (k: string, like: Shape): Node => {
        const n = nodeOf(Reflect.get(out as object, k), `the rule of "${path}": "${k}"`); // complete
        const whole = back(n, like);
        if (showSet(whole.axes) !== showSet(like))
          throw new RuleError(
            `the rule of "${path}": "${k}" comes back as ${showShape(whole.axes)}, it is ${showShape(like)}`,
            `the rule works over "${r.over}" and lifts over ${quote(names(rest))}`,
          );
        return whole;
      };
      return { w: result("w", w.axes), s: Object.fromEntries(Object.entries(r.state).map(([k, spec]) => [k, result(k, shape(spec))])) };
    },
  };
}
/** A weight's own axes, those apart and the layers' left out. What is no matrix is one column. */
function own(w: Node, r: Pick<Definition, "keep">): Sides {
  const info: ParamInfo | undefined = w.op === "leaf" ? w.param : undefined;
  const { to, from } = info ?? { to: [], from: [] };
  const kept = (axes: readonly string[]) => axes.filter((a) => !r.keep.includes(a));
  if (to.length + from.length > 0) return { to: kept(to), from: kept(from) };
  return { to: kept(names(w.axes).filter((a) => !info?.stacked.includes(a))), from: [] };
}

/** The bound of the rule's step on the slices of the weight that the axes `apart` tell apart. */
export function stepBound(path: string, w: Node, r: Definition, apart: readonly string[]): StepSize | null {
  const whole = own(w, { keep: [] });
  const count = (axes: readonly string[], but: readonly string[]) => axes.reduce((p, a) => (but.includes(a) ? p : p * Number(w.axes[a])), 1);
  const sizes = (but: readonly string[]) => [count(whole.to, but), count(whole.from, but)] as const;
  const [out, inner] = sizes(r.keep);
  const [rows, cols] = sizes([...r.keep, ...apart]);
  const b = r.bound({ rows, cols, out, in: inner });
  if (b === null) return null;
  // Blocks that the rule moves apart and the slice holds together: the squares of their norms add.
  const blocks = Math.sqrt(
    count(
      [...whole.to, ...whole.from].filter((a) => r.keep.includes(a)),
      apart,
    ),
  );
  const made = { spectral: b.spectral * blocks, frobenius: b.frobenius * blocks };
  for (const [norm, d] of Object.entries(made))
    if (!(d >= 0)) throw new RuleError(`the rule of "${path}": its bound in the ${norm} norm is ${d}`, "a number of at least 0 is wanted");
  return made;
}
const showSet = (s: Shape): string =>
  Object.entries(s)
    .map(([a, e]) => `${a}:${build.showExtent(e)}`)
    .sort()
    .join(",");
const filled = (value: number, axes: Shape): Node => build.map({}, { kind: "scalar", body: scalar.constant(value) }, "f32", axes);
/** The same values with the axes in the order of `like`, which is the order of the buffer they are written to. */
function ordered(x: Node, like: Shape): Node {
  const order = names(like).filter((a) => a in x.axes);
  if (order.length !== names(x.axes).length || order.every((a, i) => names(x.axes)[i] === a)) return x;
  const own = Object.fromEntries(order.map((a) => [a, x.axes[a] ?? 0]));
  // As many axes made as read: they take the read axes' places one by one, in this order.
  return viewBy(x, own, Object.fromEntries(names(x.axes).map((a) => [a, scalar.index(a)])));
}
function sides(path: string, w: Node, r: Definition): { readonly to: Side; readonly from: Side } {
  const info: ParamInfo | undefined = w.op === "leaf" ? w.param : undefined;
  if (!info)
    throw new RuleError(
      `each: "${path}" is no weight of a model, so which of its axes are out and which in is unknown`,
      "a rule over matrices takes a model's own parameters",
    );
  const side = (axes: readonly string[]): Side => axes.filter((a) => !r.keep.includes(a)).map((a) => [a, w.axes[a] as number]); // weights have fixed sizes
  const [to, from] = [side(info.to), side(info.from)];
  if (to.length === 0 || from.length === 0)
    throw new RuleError(
      `each: "${path}" is no matrix${r.keep.length > 0 ? ` apart from ${quote(r.keep)}` : ""}: ${showShape(w.axes)} has no ${to.length === 0 ? "out" : "in"} axis, and its rule works over "${r.over}"`,
      "give gains and tables a rule per element, under a pattern that comes first",
    );
  const taken = names(
    omit(
      w.axes,
      [...to, ...from].map(([a]) => a),
    ),
  ).filter((a) => a === "out" || a === "in");
  if (taken.length > 0)
    throw new RuleError(`each: "${path}" lifts over an axis called ${quote(taken)}`, "rename it: out and in are the matrix's own axes");
  return { to, from };
}
