// Warns of expressions that are right as they stand, but are hardly what is meant:
//
//   masking after exp   c ? exp(s − m) : 0 where m is the maximum of scores that are not masked by c. A masked score that is
//                       large decides m, the exponentials of all others underflow, and the row is lost; after a softmax,
//                       what is masked has taken its share, and rows no longer sum to 1.
//   a monoid's laws     an identity, or an order of combining, that holds for some numbers only, on numbers that may be
//                       others: max from 0 on, say, of scores that may be negative.
import { kindOf } from "../../dsl/derivative/monoid.js";
import { type Domain, everywhere, noIdentity, notAssociative, type Operation, showCarrier, showNoIdentity } from "../../dsl/monoid-laws.js";
import type { FoldNode, MapNode, MonoidBody, Node, ScanNode } from "../../dsl/node.js";
import { type Scalar, terms } from "../../dsl/scalar.js";
import { evalScalar } from "../../dsl/scalar-eval.js";
import { intervalOf } from "../../dsl/scalar-interval.js";
import { type Expanded, Expander } from "./expand.js";
import { kept } from "./masks.js";
import { called, type Diagnosis, diagnosis, shown } from "./words.js";

type Call = Extract<Scalar, { kind: "call" }>;
const isZero = (s: Scalar | undefined): boolean => s?.kind === "const" && Number(s.value) === 0;
const under = (n: Node): Node => {
  let x = n;
  while (x.op === "label" || x.op === "stop" || x.op === "cast") x = x.args[0];
  return x;
};

// ── masking after exp ────────────────────────────────────────────────────────────────────────────────
export function maskedAfterExp(nodes: readonly Node[], expander = new Expander()): readonly Diagnosis[] {
  const out: Diagnosis[] = [];
  for (const n of nodes) {
    if (n.op !== "map" || n.body.kind !== "scalar") continue;
    for (const t of terms([n.body.body])) {
      const found = t.kind === "call" && guardOf(t);
      const max = found && lateMask(n, found, expander);
      if (!found || !max) continue;
      out.push(late(n, found, max, expander));
      break;
    }
  }
  return out;
}

interface Guard {
  readonly condition: Scalar;
  readonly value: Scalar;
}
/** c ? x : 0, in either order, and x · (c ? 1 : 0). */
function guardOf(t: Call): Guard | undefined {
  const [a, b, c] = t.args;
  if (t.prim === "select" && a && b && c) {
    if (isZero(c)) return { condition: a, value: b };
    if (isZero(b)) return { condition: a, value: c };
  }
  if (t.prim !== "mul" || !a || !b) return undefined;
  for (const [factor, value] of [
    [a, b],
    [b, a],
  ] as const) {
    if (factor.kind === "call" && factor.prim === "toReal" && factor.args[0]) return { condition: factor.args[0], value };
    const inner = factor.kind === "call" && factor.prim === "select" ? guardOf(factor) : undefined;
    if (inner?.value.kind === "const") return { condition: inner.condition, value };
  }
  return undefined;
}
/** The maximum that sees what this masks. */
function lateMask(n: MapNode, g: Guard, expander: Expander): FoldNode | undefined {
  const value = expander.within(n, g.value);
  const exponents = terms([value.body]).flatMap((t) => (t.kind === "call" && t.prim === "exp" ? [t.args[0] as Scalar] : []));
  if (exponents.length === 0) return undefined;
  const condition = expander.within(n, g.condition);
  if (!isGiven(condition)) return undefined;
  for (const t of terms(exponents)) {
    const m = t.kind === "arg" ? value.args.get(t.name) : undefined;
    const max = m && under(m);
    if (max?.op !== "fold" || max.args.length !== 1 || kindOf(max.monoid) !== "max") continue;
    if (!variesAlong(condition, max.over)) continue;
    const score = expander.of(max.args[0] as Node);
    if (!conjuncts(kept(score.body)).includes(condition.body)) return max;
  }
  return undefined;
}
/** Of indices, sizes and what the program is given: what is drawn or computed (dropout, a threshold) masks nothing before. */
function isGiven({ args }: Expanded): boolean {
  return [...args.values()].every((n) => {
    let x = under(n);
    while (x.op === "view") x = under(x.args[0]);
    return x.op === "leaf";
  });
}
const variesAlong = ({ body, args }: Expanded, axes: readonly string[]): boolean =>
  terms([body]).some((t) => t.kind === "index" && axes.includes(t.axis)) || [...args.values()].some((n) => axes.some((a) => a in n.axes));
function conjuncts(s: Scalar): readonly Scalar[] {
  const out: Scalar[] = [];
  const todo = [s];
  for (let x = todo.pop(); x; x = todo.pop()) {
    out.push(x);
    if (x.kind === "call" && x.prim === "and") todo.push(...x.args);
  }
  return out;
}
function late(n: MapNode, g: Guard, max: FoldNode, expander: Expander): Diagnosis {
  const names = (x: Node): string | undefined => n.names[n.args.findIndex((a) => a === x || under(a) === under(x))];
  const condition = shown(expander.within(n, g.condition), names);
  const score = max.args[0] as Node;
  return diagnosis(
    "warning",
    n,
    `${condition} masks an exponential, not the score: the maximum over ${max.over.map((a) => `"${a}"`).join(", ")} in it is that of ${called(score)} unmasked, and a large masked score makes all others of its row underflow to 0`,
    `mask the score instead, before its maximum and its softmax: ${condition} ? s : -Infinity`,
  );
}

// ── monoids ──────────────────────────────────────────────────────────────────────────────────────────
export function doubtfulMonoids(nodes: readonly Node[], expander = new Expander()): readonly Diagnosis[] {
  const out: Diagnosis[] = [];
  const seen = new Set<MonoidBody>();
  for (const n of nodes) {
    if ((n.op !== "fold" && n.op !== "scan") || kindOf(n.monoid) !== "general" || seen.has(n.monoid)) continue;
    seen.add(n.monoid);
    const m = operationOf(n.monoid);
    const found = m && (wrongOrder(n, m) ?? wrongStart(n, m, expander));
    if (found) out.push(found);
  }
  return out;
}
function operationOf({ empty, combine }: MonoidBody): Operation | undefined {
  if (combine.kind !== "scalar") return undefined;
  const side = (s: "x" | "y", of: Readonly<Record<string, number>>) => Object.entries(of).map(([c, v]) => [`${s}.${c}`, v] as const);
  type Carrier = Readonly<Record<string, number>>;
  const concat = (x: Carrier, y: Carrier): Carrier => {
    const args = Object.fromEntries([...side("x", x), ...side("y", y)]);
    return Object.fromEntries(Object.entries(combine.at).map(([c, s]) => [c, Number(evalScalar(s, { args }))]));
  };
  return { empty, concat };
}
function wrongOrder(n: FoldNode | ScanNode, m: Operation): Diagnosis | undefined {
  const wrong = everywhere((of) => notAssociative(m, of));
  if (!wrong) return undefined;
  const [x, y, z] = wrong.of.map(showCarrier);
  return diagnosis(
    "warning",
    n,
    `the operation of ${called(n)} is not associative: of x = ${x}, y = ${y} and z = ${z}, (x, y) with z gives ${showCarrier(wrong.left)}, and x with (y, z) ${showCarrier(wrong.right)}`,
    "parts are folded apart and then combined, so the result depends on how: use an operation that does not care, or repeat for one that goes step by step",
  );
}
/** The identity fails on negative numbers, and the values may be such. */
function wrongStart(n: FoldNode | ScanNode, m: Operation, expander: Expander): Diagnosis | undefined {
  const signed = (x: Node) => !(intervalOf(expander.of(x).body, (t) => (t.kind === "arg" ? [-Infinity, Infinity] : [0, Infinity]))[0] >= 0);
  const numbers = Object.fromEntries(
    Object.keys(m.empty).map((c, i): [string, Domain] => [c, signed(n.args[i] as Node) ? "all numbers" : "positive numbers"]),
  );
  const wrong = noIdentity(m, numbers);
  const first = n.args.find(signed);
  if (!wrong || !first || noIdentity(m, "positive numbers")) return undefined;
  return diagnosis(
    "warning",
    n,
    `${showCarrier(m.empty)} is an identity of ${called(n)} for positive numbers alone (${showNoIdentity(m, wrong)}), and ${called(first)} may be negative`,
    "begin with an identity for all numbers: -Infinity for a maximum, Infinity for a minimum",
  );
}
