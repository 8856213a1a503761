// result[o] = x[e(o)], so dx[a] = Σ_o [e(o) = a]·ct[o]: a one-hot sum over the result's own axes. That form is always
// right, and where it stays (a learned table read through arithmetic) the lowering makes an indexed add of it.
//
// Most views can be read backwards instead: an axis o of the result that is determined by the index a of x is solved
// for, and its sum falls away.
//   a = o + …            o = a − …                        renaming, slices, padding, taps, diagonals
//   a = Σ cₖ·oₖ          oₖ by division and remainder      splits, strides
//   aₖ = ⌊m/sₖ⌋ mod Dₖ   m = Σ aₖ·sₖ                       merges
//   a = (o + c) mod D    o = (a + D − c) mod D            rotations
// What is solved is read by a view (which gives 0 outside, as it must), what is only implied is a condition, and axes of
// the result that nothing determines are summed over.
import { view as makeView, map } from "../build.js";
import type { Extent, Shape, ViewNode } from "../node.js";
import { arg, call, constant, index, type Scalar, size, substitute, terms } from "../scalar.js";
import { simplify } from "../scalar-simplify.js";
import { solve } from "./inverse.js";
import { indexOf, type Rule } from "./rule.js";
import { freshAxis, rename, scalar, sumOver, zero } from "./terms.js";

export const view: Rule<ViewNode> = ([{ node, ct }]) => {
  const x = node.args[0];
  // A result axis may have the name of an axis of x: inside this rule the result's are renamed apart. `free` axes that
  // survive until the sum get real names.
  const taken: Shape = { ...x.axes, ...node.axes };
  const own = new Map<string, string>();
  for (const o of Object.keys(node.fresh))
    own.set(o, node.reads.includes(o) ? freshAxis(o, taken, Object.fromEntries([...own.values()].map((n) => [n, 0]))) : o);
  const extents = new Map([...own].map(([o, name]) => [name, node.fresh[o] as Extent]));
  const axesOfX = new Map(node.reads.map((a) => [a, x.axes[a] as Extent]));
  const wanted = new Map<string, Scalar>();
  for (const [a, e] of Object.entries(indexOf(node.index))) wanted.set(a, simplify(substitute(e, (t) => named(t, own, x.axes, node.axes))));

  const { solved, conditions } = solve(wanted, axesOfX, extents);
  let out = rename(ct, own);
  if (solved.size > 0) {
    const used = new Set([...solved.values()].flatMap((e) => terms([e]).flatMap((t) => (t.kind === "index" ? [t.axis] : []))));
    const through = [...used].filter((f) => extents.has(f)); // free axes that a solution needs are read as they stand
    const fresh: Record<string, Extent> = {};
    for (const [a, e] of axesOfX) if (used.has(a)) fresh[a] = e;
    for (const f of through) fresh[f] = extents.get(f) as Extent;
    const at = Object.fromEntries([...solved, ...through.map((f) => [f, index(f)] as const)]);
    out = makeView(out, fresh, { kind: "scalar", at }, Object.keys(at));
  }
  const target = Object.fromEntries(axesOfX);
  if (conditions.length > 0 || Object.keys(target).some((a) => !(a in out.axes))) {
    const all = conditions.reduce<Scalar | null>((p, q) => (p ? call("and", p, q) : q), null);
    out = map({ ct: out }, scalar(all ? call("select", all, arg("ct"), zero) : arg("ct")), "f32", target);
  }
  return [
    sumOver(
      out,
      [...extents.keys()].filter((o) => !solved.has(o)),
    ),
  ];
};

/** The result's axes by their private names; sizes that are known as numbers. */
function named(t: Scalar, own: ReadonlyMap<string, string>, ofX: Shape, ofResult: Shape): Scalar | undefined {
  if (t.kind === "index") return index(own.get(t.axis) ?? t.axis);
  if (t.kind !== "size") return undefined;
  const extent = ofX[t.axis] ?? ofResult[t.axis];
  if (typeof extent === "number") return constant(extent);
  return t.axis in ofX ? t : size(own.get(t.axis) ?? t.axis);
}
