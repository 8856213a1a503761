// How a value changes when tensors below it move by given steps: f(w + d) − f(w), computed without subtracting two nearly
// equal numbers. Every node becomes a value with its change, and each operation says how changes combine, exactly and not
// to first order:
//
//   Δ(a + b) = Δa + Δb        Δ(ab) = Δa·(b + Δb) + a·Δb        Δ(Σ a) = Σ Δa        Δ view(a) = view(Δa)
//
// Unfolded over an expression that is linear in each weight this is its expansion over all non-empty subsets of the steps
// (a multilinear expansion). Quotients, maxima, conditions and the usual smooth functions have exact forms
// too; any other operation, a scan for example, is the plain difference of its two values. Not through loops, which
// derivations of bounds refuse before. Works on graphs that have been read.
import { at, map, view } from "../../dsl/build.js";
import { kindOf } from "../../dsl/derivative/monoid.js";
import { scalarOf } from "../../dsl/derivative/rule.js";
import { add, broadcast, lift, ordered, scalar, sumOver, zero } from "../../dsl/derivative/terms.js";
import type { Leaf, MapNode, Node } from "../../dsl/node.js";
import { withoutRecording } from "../../dsl/places.js";
import { arg, call, constant, type Scalar, terms } from "../../dsl/scalar.js";
import { simplify } from "../../dsl/scalar-simplify.js";
import { below, order, rebuild } from "./walk.js";

/** For each root its change when every leaf in `steps` moves by that tensor (of the leaf's own axes); null: none. `plain` is
 *  told of every value whose change is a plain difference. */
export function changesOf(roots: readonly Node[], steps: ReadonlyMap<Leaf, Node>, plain: (n: Node) => void = () => {}): readonly (Node | null)[] {
  return withoutRecording(() => {
    const change = new Map<Node, Node | null>();
    const of = (n: Node): Node | null => change.get(n) ?? null;
    let shifted: ReadonlyMap<Node, Node> | undefined;
    /** f(w + d) − f(w). */
    const difference = (n: Node): Node => {
      plain(n);
      shifted ??= rebuild(roots, (m) => (m.op === "leaf" && steps.has(m) ? add(m, steps.get(m) as Node) : m)).to;
      return lift({ a: shifted.get(n) as Node, b: n }, call("sub", arg("a"), arg("b")));
    };
    for (const n of order(roots)) {
      const moved = n.op === "leaf" ? steps.get(n) : undefined;
      if (moved) change.set(n, moved);
      else if (!below(n).some((p) => of(p))) change.set(n, null);
      else change.set(n, ordered(broadcast(through(n, of) ?? difference(n), n.axes), n.axes));
    }
    return roots.map(of);
  });
}

/** null: no exact form. */
function through(n: Node, of: (n: Node) => Node | null): Node | null {
  switch (n.op) {
    case "map":
      return mapped(n, of);
    case "view":
      return view(of(n.args[0]) as Node, n.fresh, n.index, n.reads);
    case "at": {
      const [x, ...indices] = n.args;
      return indices.some(of) ? null : at(of(x) as Node, n.along, indices);
    }
    case "fold":
      return kindOf(n.monoid) === "sum" ? sumOver(of(n.args[0] as Node) as Node, n.over) : null;
    case "cast":
      return n.dtype === "i32" || n.dtype === "bool" ? null : of(n.args[0]); // roundings of half types apart
    case "label":
    case "stop":
      return of(n.args[0]);
    case "carry":
    case "emit":
      throw new Error("change: a loop stands between a moved weight and the value");
    default:
      return null;
  }
}

function mapped(n: MapNode, of: (n: Node) => Node | null): Node {
  const values: Record<string, Node> = {};
  const changes = new Map<string, string>();
  for (const [i, name] of n.names.entries()) values[name] = n.args[i] as Node;
  for (const name of n.names) {
    const d = of(values[name] as Node);
    if (!d) continue;
    let own = `d_${name}`;
    while (own in values) own += "_";
    values[own] = d;
    changes.set(name, own);
  }
  const body = simplify(changed(scalarOf(n.body), (name) => changes.get(name)));
  const used = Object.fromEntries(terms([body]).flatMap((t) => (t.kind === "arg" ? [[t.name, values[t.name] as Node]] : [])));
  return map(used, scalar(body), "f32", n.axes);
}

/** The change of a scalar when its arguments change by those named `step(name)`. */
function changed(root: Scalar, step: (name: string) => string | undefined): Scalar {
  const moved = new Map<Scalar, Scalar>();
  const delta = new Map<Scalar, Scalar>();
  const of = (t: Scalar) => delta.get(t) ?? zero;
  for (const t of terms([root])) {
    const own = t.kind === "arg" ? step(t.name) : undefined;
    if (own !== undefined) {
      delta.set(t, arg(own));
      moved.set(t, call("add", t, arg(own)));
    } else if (t.kind === "call" && t.args.some((a) => delta.has(a))) {
      const after = call(t.prim, ...t.args.map((a) => moved.get(a) ?? a));
      moved.set(t, after);
      delta.set(t, rule(t, t.args, of, after));
    }
  }
  return of(root);
}
const [plus, minus, times, over] = (["add", "sub", "mul", "div"] as const).map((prim) => (a: Scalar, b: Scalar) => call(prim, a, b)) as unknown as [
  Binary,
  Binary,
  Binary,
  Binary,
]; // four primitives of two arguments
type Binary = (a: Scalar, b: Scalar) => Scalar;
const [one, two] = [constant(1), constant(2)];

/** Δ of `t` with these arguments; `after`: its value at the moved ones. */
function rule(t: Scalar & { readonly kind: "call" }, args: readonly Scalar[], of: (t: Scalar) => Scalar, after: Scalar): Scalar {
  const [a, b, c] = args as readonly [Scalar, Scalar, Scalar];
  const still = (x: Scalar) => of(x) === zero;
  const product = (x: Scalar, y: Scalar) =>
    still(x) ? times(x, of(y)) : still(y) ? times(of(x), y) : plus(times(of(x), plus(y, of(y))), times(x, of(y)));
  /** The greater by `prefers` of two values, each possibly another one afterwards. */
  const chosen = (prefers: "ge" | "le") => {
    const [before, then] = [call(prefers, a, b), call(prefers, plus(a, of(a)), plus(b, of(b)))];
    const kept = call("select", then, of(a), plus(minus(b, a), of(b)));
    return call("select", before, kept, call("select", then, plus(minus(a, b), of(a)), of(b)));
  };
  switch (t.prim) {
    case "neg":
      return call("neg", of(a));
    case "add":
      return plus(of(a), of(b));
    case "sub":
      return minus(of(a), of(b));
    case "mul":
      return product(a, b);
    case "fma":
      return plus(product(a, b), of(c));
    case "div":
      return still(b) ? over(of(a), b) : over(minus(of(a), times(t, of(b))), plus(b, of(b)));
    case "max":
      return chosen("ge");
    case "min":
      return chosen("le");
    case "select": {
      const same = call("select", a, of(b), of(c));
      if (!terms([a]).some((x) => !still(x))) return same;
      const condition = (after as Scalar & { readonly kind: "call" }).args[0] as Scalar;
      return call("select", call("eq", call("toReal", condition), call("toReal", a)), same, minus(after, t));
    }
    case "exp":
      return times(t, call("expm1", of(a)));
    case "log":
      return call("log1p", over(of(a), a));
    case "sqrt":
      return over(of(a), plus(after, t));
    case "tanh": // tanh(x − y) = (tanh x − tanh y)/(1 − tanh x·tanh y)
      return times(call("tanh", of(a)), minus(one, times(t, after)));
    case "sin":
      return times(two, times(call("cos", plus(a, over(of(a), two))), call("sin", over(of(a), two))));
    case "cos":
      return times(call("neg", two), times(call("sin", plus(a, over(of(a), two))), call("sin", over(of(a), two))));
    case "toF32": // roundings apart
    case "toBf16":
    case "toF16":
      return of(a);
    default:
      return minus(after, t);
  }
}
