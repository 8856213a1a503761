// Folds over tuple monoids that authors write are taken apart where every component is a fold by itself:
//
//   m = max(x.m, y.m)                                       M = max_j m_j
//   l = x.l·exp(x.m − m) + y.l·exp(y.m − m)                 L = Σ_j l_j·exp(m_j − M)
//   o = x.o·exp(x.m − m) + y.o·exp(y.m − m)                 O = Σ_j o_j·exp(m_j − M)
//
// The one on the left is the online softmax, which names an order of evaluation; the one on the right is its meaning, and
// it has a gradient without scans. The refolded kernels find the order again, and choose its tiles. A component that is
// combined alone (by +, ·, max or min) is a fold as it stands; one that is brought up to date by a factor must prove
// it (cocycle.ts). Monoids of any other kind stay whole.
import { fold, map } from "../../dsl/build.js";
import { lift, ordered, sumMonoid, unionOf } from "../../dsl/derivative/terms.js";
import type { FoldNode, MonoidBody, Node, Shape } from "../../dsl/node.js";
import { inherit } from "../../dsl/places.js";
import { arg, call, constant, type Scalar, terms } from "../../dsl/scalar.js";
import { coefficients, type Rescale, rescale } from "./cocycle.js";
import { order, type Rebuilt, rebuild } from "./walk.js";

const alone = ["add", "mul", "max", "min"] as const;
type Alone = (typeof alone)[number];
const identity: { readonly [K in Alone]: number } = { add: 0, mul: 1, max: -Infinity, min: Infinity };
/** The floor of softmax (dsl/fold.ts). */
const FLOOR = 1e38;
/** How a component is folded: alone, or as a sum of what `by` rescales. */
type Part =
  | { readonly kind: "alone"; readonly by: Alone; readonly floor: number | null }
  | { readonly kind: "rescaled"; readonly extreme: string; readonly by: Rescale };
type Parts = ReadonlyMap<string, Part>;

export function splitMonoids(roots: readonly Node[]): Rebuilt {
  // A gradient with respect to one component holds the others fixed.
  const wanted = new Set(order(roots).flatMap((n) => (n.op === "grad" && n.args[1].op === "fold" ? [groupOf(n.args[1])] : [])));
  const known = new Map<MonoidBody, Parts | undefined>();
  return rebuild(roots, (n, was) => {
    if (n.op !== "fold" || n.args.length < 2 || (was.op === "fold" && wanted.has(groupOf(was)))) return n;
    if (!known.has(n.monoid)) known.set(n.monoid, partsOf(n.monoid));
    const parts = known.get(n.monoid);
    return parts ? ordered(component(n, n.field, parts), n.axes) : n;
  });
}
/** What the components of one fold have in common. */
const groupOf = (n: FoldNode): Node => fold(inputsOf(n), n.monoid, n.over)[Object.keys(n.monoid.empty)[0] as string] as Node;
const inputsOf = (n: FoldNode): Readonly<Record<string, Node>> =>
  Object.fromEntries(Object.keys(n.monoid.empty).map((c, i) => [c, n.args[i] as Node]));

function partsOf(m: MonoidBody): Parts | undefined {
  if (m.combine.kind !== "scalar") return undefined;
  const { at } = m.combine;
  const out = new Map<string, Part>();
  const names = Object.keys(m.empty);
  const side = (s: "x" | "y", c: string) => arg(`${s}.${c}`);
  for (const c of names) {
    const empty = m.empty[c] as number;
    const by = alone.find((prim) => [call(prim, side("x", c), side("y", c)), call(prim, side("y", c), side("x", c))].includes(at[c] as Scalar));
    if (!by) continue;
    const bounded = (by === "max" || by === "min") && Number.isFinite(empty);
    if (empty === identity[by] || bounded) out.set(c, { kind: "alone", by, floor: bounded ? empty : null });
  }
  for (const c of names) {
    if (out.has(c)) continue;
    const found = coefficients(at[c] as Scalar, side("x", c), side("y", c));
    if (!found || m.empty[c] !== 0) return undefined;
    const read = new Set(terms(found).flatMap((t) => (t.kind === "arg" ? [t.name.slice(2)] : [])));
    const [extreme, ...more] = read;
    const first = extreme === undefined ? undefined : out.get(extreme);
    if (extreme === undefined || more.length > 0 || first?.kind !== "alone" || (first.by !== "max" && first.by !== "min")) return undefined;
    const [x, y] = [side("x", extreme), side("y", extreme)];
    const [r, s] = [rescale(found[0], x, y, first.by), rescale(found[1], y, x, first.by)];
    if (!r || !s || r.rate !== s.rate || !Object.is(r.empty, s.empty)) return undefined;
    out.set(c, { kind: "rescaled", extreme, by: r });
  }
  return out;
}

function component(n: FoldNode, c: string, parts: Parts): Node {
  const xs = inputsOf(n);
  const all = unionOf(n.args);
  const along: Shape = Object.fromEntries(n.over.map((a) => [a, all[a]!]));
  const part = parts.get(c) as Part;
  const from = (m: Node): Node => {
    inherit(m, n);
    return m;
  };
  if (part.kind === "alone") {
    const x = xs[c] as Node;
    const whole = from(fold({ x: lift({ x }, arg("x"), along) }, monoidOf(part.by), n.over).x as Node);
    return part.floor === null ? whole : from(lift({ x: whole }, call(part.by, arg("x"), constant(part.floor))));
  }
  const extreme = parts.get(part.extreme) as Extract<Part, { kind: "alone" }>;
  const whole = component(n, part.extreme, parts);
  const { rate, empty } = part.by;
  // Where a row is masked throughout the factor is 0, as softmax has it: below a floor its extreme counts as the floor, so that
  // m − M stays a number, and an exponential of a difference for the kernel that brings it up to date.
  const floored = extreme.floor === null && empty === 0 && !Number.isNaN(empty);
  const floor = constant(extreme.by === "max" ? -FLOOR : FLOOR);
  const moved = call("sub", arg("m"), floored ? call(extreme.by, arg("whole"), floor) : arg("whole"));
  const factor = call("exp", rate === 1 ? moved : call("mul", moved, constant(rate)));
  const product = call("mul", arg("x"), factor);
  const nothing = call("eq", arg("whole"), constant(identity[extreme.by]));
  const body = floored || extreme.floor !== null || Number.isNaN(empty) ? product : call("select", nothing, arg("x"), product);
  const inputs = { x: xs[c] as Node, m: xs[part.extreme] as Node, whole };
  return from(fold({ x: from(map(inputs, { kind: "scalar", body }, "f32", along)) }, sumMonoid, n.over).x as Node);
}
const monoidOf = (by: Alone): MonoidBody =>
  by === "add" ? sumMonoid : { empty: { x: identity[by] }, combine: { kind: "scalar", at: { x: call(by, arg("x.x"), arg("y.x")) } } };
