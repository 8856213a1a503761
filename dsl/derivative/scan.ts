// Derivatives of scans. A sum's is the sum from the other end. Any other: with y_i = g(y_{i−1}, x_i) and the cotangents
// ct of y, the adjoint of the state obeys
//
//   λ_i = ct_i + (∂g/∂y (y_i, x_{i+1}))ᵀ λ_{i+1}          dx_i = (∂g/∂x (y_{i−1}, x_i))ᵀ λ_i
//
// which is itself a scan, from the other end, of affine maps λ ↦ A λ + b: their composition is a monoid whose
// components are the entries of A and b (those of A that can be other than 0).
//
// Components may have different axes. The adjoint lives on the union of all; a component that lacks some of these axes
// is repeated along them, its seed stands at index 0 of each, and the sum over the repetitions is its adjoint.
import { scan as makeScan, without } from "../build.js";
import type { MonoidBody, Node, ScanNode, Shape } from "../node.js";
import { arg, call, constant, index, type Scalar } from "../scalar.js";
import { cotangents } from "../scalar-derivative.js";
import { bindSides, kindOf, mapValues } from "./monoid.js";
import { combineOf, type Rule, type Use } from "./rule.js";
import { broadcast, lift, shift, sumMonoid, sumTo, unionOf, zero, zeros } from "./terms.js";

export const scan: Rule<ScanNode> = (uses, needs) => {
  const [{ node, ct }] = uses;
  const [x] = node.args as readonly [Node, ...Node[]];
  if (kindOf(node.monoid) !== "sum") return general(uses, needs);
  const back = makeScan({ x: ct }, sumMonoid, node.over, { exclusive: node.exclusive, reverse: !node.reverse }).x as Node;
  return [sumTo(back, x.axes)];
};

function general(uses: readonly Use<ScanNode>[], needs: readonly boolean[]): readonly (Node | null)[] {
  const { monoid, args, over, reverse, exclusive } = (uses[0] as Use<ScanNode>).node;
  const names = Object.keys(monoid.empty);
  const all: Shape = unionOf(args);
  const xs = Object.fromEntries(names.map((c, i) => [c, args[i] as Node]));
  const before = makeScan(xs, monoid, over, { exclusive: true, reverse });
  const g = mapValues(combineOf(monoid), (s) =>
    bindSides(
      s,
      (c) => arg(`y.${c}`),
      (c) => arg(`x.${c}`),
    ),
  );
  const inputs: Record<string, Node> = {};
  for (const c of names) {
    inputs[`y.${c}`] = before[c] as Node;
    inputs[`x.${c}`] = xs[c] as Node;
  }
  /** From element i to the one that comes before it in the scan's direction. */
  const following = (x: Node) => shift(x, over, reverse ? -1 : 1);

  // The affine maps. Row r, column s: what λ_s of the following element gives λ_r.
  const entries = new Map<string, Node>();
  for (const s of names) {
    const row = cotangents(
      g[s] as Scalar,
      one,
      names.map((r) => `y.${r}`),
    );
    for (const r of names) {
      const body = row[`y.${r}`];
      if (body) entries.set(key(r, s), following(lift(inputs, body, all)));
    }
  }
  const seeds = Object.fromEntries(
    names.map((c) => {
      const use = uses.find((u) => u.node.field === c);
      if (!use) return [c, zeros(all)];
      const ct = exclusive ? following(use.ct) : use.ct;
      const repeated = Object.keys(without(all, Object.keys(use.node.axes)));
      const first = repeated.map((a) => call("eq", index(a), zero));
      return [
        c,
        first.length === 0
          ? broadcast(ct, all)
          : lift(
              { ct },
              call(
                "select",
                first.reduce((p, q) => call("and", p, q)),
                arg("ct"),
                zero,
              ),
              all,
            ),
      ];
    }),
  );
  const { monoid: affine, possible } = affineMonoid(names, (r, s) => entries.has(key(r, s)));
  const elements: Record<string, Node> = {};
  for (const r of names) for (const s of names) if (possible(r, s)) elements[key(r, s)] = entries.get(key(r, s)) ?? zeros(all);
  for (const r of names) elements[offset(r)] = seeds[r] as Node;
  const adjoint = makeScan(elements, affine, over, { reverse: !reverse });

  for (const c of names) inputs[`λ.${c}`] = adjoint[offset(c)] as Node;
  return names.map((c, i) => {
    if (!needs[i]) return null;
    let body: Scalar | undefined;
    for (const s of names) {
      const part = cotangents(g[s] as Scalar, arg(`λ.${s}`), [`x.${c}`])[`x.${c}`];
      if (part) body = body ? call("add", body, part) : part;
    }
    return body ? sumTo(lift(inputs, body, all), (xs[c] as Node).axes) : null;
  });
}
const one = constant(1);
const key = (r: string, s: string) => `a_${r}_${s}`;
const offset = (r: string) => `b_${r}`;

/** The later map after the earlier: (A', b') ∘ (A, b) = (A'A, A'b + b'). Entries of A that no product can make other than
 *  0 are left out. */
function affineMonoid(names: readonly string[], nonzero: (r: string, s: string) => boolean) {
  const reach = new Set<string>();
  for (const r of names) for (const s of names) if (r === s || nonzero(r, s)) reach.add(key(r, s));
  for (const k of names) for (const r of names) for (const s of names) if (reach.has(key(r, k)) && reach.has(key(k, s))) reach.add(key(r, s));
  const possible = (r: string, s: string) => reach.has(key(r, s));
  const total = (parts: readonly Scalar[]) => parts.reduce((p, q) => call("add", p, q));
  const empty: Record<string, number> = {};
  const at: Record<string, Scalar> = {};
  for (const r of names)
    for (const s of names) {
      if (!possible(r, s)) continue;
      empty[key(r, s)] = r === s ? 1 : 0;
      at[key(r, s)] = total(
        names.filter((k) => possible(r, k) && possible(k, s)).map((k) => call("mul", arg(`y.${key(r, k)}`), arg(`x.${key(k, s)}`))),
      );
    }
  for (const r of names) {
    empty[offset(r)] = 0;
    const moved = names.filter((k) => possible(r, k)).map((k) => call("mul", arg(`y.${key(r, k)}`), arg(`x.${offset(k)}`)));
    at[offset(r)] = call("add", total(moved), arg(`y.${offset(r)}`));
  }
  const monoid: MonoidBody = { empty, combine: { kind: "scalar", at } };
  return { monoid, possible };
}
