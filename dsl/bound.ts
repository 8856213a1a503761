// How far a step can move labelled logits, as expressions that the compiler derives from them (docs/quack.md,
// "Certificate and budget"): the certificate, which holds for any rates, and the budget, which QuacK's rates keep. This file finds the
// weights and lays out what is known of each; compiler/graph/bound.ts expands.
import * as build from "./build.js";
import { ArgumentError, quote, RuleError } from "./errors.js";
import { outside, survey } from "./label.js";
import type { BoundNode, BoundRole, LabelNode, Loop, Node, Shape } from "./node.js";
import { deriveRates, paramsBelow } from "./rates.js";
import type { Rates } from "./rules.js";
import { describe, handle, isNode, nodeOf } from "./tensor.js";
import type { Axes, Scalar, Tensor } from "./types.js";

/** The axes of the logits by which some weight has rates of its own; null where the logits have no bound. */
export type Separation = (logits: Node) => readonly string[] | null;
let separation: Separation = () => null;
/** The compiler's: how the weights reach the logits. */
export const provideSeparation = (s: Separation): void => {
  separation = s;
};

/** What `find(loss, "logits")` gives. */
export type Logits = readonly { readonly path: string; readonly value: Tensor<Axes, "f32"> }[];
export interface BoundOptions {
  /** Of weights and steps. Spectral norms are the Gram matrix's trace bound, σ ≤ tr(G^m)^(1/2m) with m = 2¹⁶, times
   *  1 + 2⁻¹² against rounding: at most 0.04 % above the true value for up to 2,048 rows and columns, never below it. */
  readonly norm?: "frobenius" | "spectral";
  /** The greatest norm that an input of the logits' model has over the axes that the logits sum over (its features), at any
   *  position: a number (1 unless said), one tensor for each of the logits (as `inputNorms` gives them), or "measured":
   *  computed from the inputs in the same program. */
  readonly inputs?: number | "measured" | readonly Tensor<Axes, "f32">[];
}

/** A bound of |Δℓ| for one step that moves the weights as said and holds the inputs fixed, whatever the rates are:
 *
 *      Σ_p |c_p| ‖x‖^a ‖y‖^b [Π(‖W_i‖ + δ_i) − Π‖W_i‖]      (docs/quack.md, "Certificate and budget")
 *
 *  summed over non-empty subsets of the steps, so that nothing cancels. One entry for each of the logits, with those of
 *  their axes that separate rates (layers, heads).
 *
 *  `moves`, by weight's path: δ, the greatest norm of the weight's change (lr·rate·D); with `of: "changes"` the changes
 *  themselves, whose norms are then taken. Every weight that the logits depend on must be there, gains and tables too;
 *  one that stands still moves by 0.
 *  @throws RuleError, and from the compiler GraphError where the logits have no bound or a weight no move. */
export function logitCertificate(logits: Logits, moves: Rates, o: BoundOptions & { readonly of?: "norms" | "changes" } = {}): Logits {
  const { of = "norms" } = o;
  if (of !== "norms" && of !== "changes") throw new ArgumentError(`logitCertificate: no form "${String(of)}"`, 'moves are "norms" or "changes"');
  return each("logitCertificate", logits, o, (value) => ({
    what: "certificate",
    parts: paramsBelow(value).flatMap((w) => {
      const move = moves[w.name];
      if (move === undefined) return [];
      const node = nodeOf(move, `logitCertificate: the move of "${w.name}"`);
      within("logitCertificate: the move", w, node);
      if (of === "changes" && Object.keys(w.axes).some((a) => !(a in node.axes)))
        throw new RuleError(`logitCertificate: the change of "${w.name}" lacks axes of the weight`, `it has ${build.showShape(w.axes)}`);
      return [part("weight", w), part(of === "changes" ? "change" : "move", node)];
    }),
  }));
}

export interface Budget {
  /** QuacK's factors at the first step, as `deriveRates` gave them then. */
  readonly f0: Rates;
  /** D by weight: how far a step at rate 1 moves it (`stepsOf`). */
  readonly steps: Rates;
  /** τη. */
  readonly rate: Scalar | number;
  /** δ of weights that have no f0 and keep their rate, such as a bias table: as a certificate's moves. */
  readonly others?: Rates;
}
/** What QuacK allows a step to move the logits by: to first order Σ τηD_W/f₀(W) over paths and weights, quantities of step
 *  0 alone; higher orders from the present norms (docs/quack.md, "Certificate and budget"). It bounds |Δℓ| of steps at QuacK's rates
 *  τηf/f₀, and of no others. `combine` and `floor` are those of the rates.
 *  @throws RuleError for a weight with f0 but without D; GraphError as the certificate. */
export function logitBudget(logits: Logits, b: Budget, o: BoundOptions & { readonly combine?: "max" | "sum"; readonly floor?: number } = {}): Logits {
  const { inputs: _, ...how } = o;
  const now = deriveRates(logits, how);
  const rate = typeof b.rate === "number" ? build.constant(b.rate) : nodeOf(b.rate, "logitBudget: the rate");
  return each("logitBudget", logits, o, (value) => ({
    what: "budget",
    parts: [
      ...paramsBelow(value).flatMap((w) => {
        const start = b.f0[w.name];
        const other = b.others?.[w.name];
        if (start === undefined)
          return other === undefined ? [] : [part("weight", w), part("move", nodeOf(other, `logitBudget: the move of "${w.name}"`))];
        const step = b.steps[w.name];
        if (step === undefined) throw new RuleError(`logitBudget: no D is given for "${w.name}"`, "stepsOf(optimizer, params, f0, norm) gives them");
        const known = { start, factor: now[w.name], step };
        return [
          part("weight", w),
          ...Object.entries(known).map(([role, x]) => {
            const node = nodeOf(x, `logitBudget: the ${role} of "${w.name}"`);
            within(`logitBudget: the ${role}`, w, node);
            return part(role as keyof typeof known, node); // entries of `known`
          }),
        ];
      }),
      part("rate", rate),
    ],
  }));
}

/** For each of the logits, the greatest norm that an input of their model has in this program, by layer: what `inputs` of
 *  another program's bound may be. */
export const inputNorms = (logits: Logits): Logits =>
  each("inputNorms", logits, { inputs: "measured" }, (value) => ({ what: "inputs", parts: paramsBelow(value).map((w) => part("weight", w)) }));

interface Part {
  readonly role: BoundRole;
  readonly node: Node;
}
const part = (role: BoundRole, node: Node): Part => ({ role, node });

function each(
  what: string,
  logits: Logits,
  o: BoundOptions & { readonly combine?: "max" | "sum" },
  parts: (value: Node) => { readonly what: BoundNode["what"]; readonly parts: readonly Part[] },
): Logits {
  if (!Array.isArray(logits) || logits.length === 0)
    throw new RuleError(`${what}: no logits`, 'name them where they are computed: label(s, "logits"), then find(loss, "logits")');
  const { norm = "frobenius", combine = "max", inputs = 1 } = o;
  if (!["frobenius", "spectral"].includes(norm)) throw new ArgumentError(`${what}: no norm "${norm}"`, 'norms are "frobenius" and "spectral"');
  if (typeof inputs === "number" ? !(inputs >= 0) : inputs !== "measured" && !(Array.isArray(inputs) && inputs.length === logits.length))
    throw new ArgumentError(
      `${what}: the inputs' norm is ${typeof inputs === "number" ? inputs : describe(inputs)}`,
      `a number of at least 0, a list of one tensor for each of the ${logits.length} logits, or "measured"`,
    );
  return logits.map(({ path, value }, i) => {
    const n = nodeOf(value, `${what}: the logits`);
    const made = parts(n);
    const size = typeof inputs === "number" ? build.constant(inputs) : inputs === "measured" ? null : nodeOf(inputs[i], `${what}: the inputs' norm`);
    const all = [...made.parts, ...(size ? [part("size", size)] : inputsOf(n).map((x) => part("input", x)))];
    const asked = { what: made.what, roles: all.map((p) => p.role), norm, combine };
    const node = build.bound([n, ...all.map((p) => p.node)], asked, apart(n, made.what));
    for (const { role, node: m } of all)
      if (role === "size" && Object.keys(m.axes).some((a) => m.axes[a] !== node.axes[a]))
        throw new ArgumentError(
          `${what}: the inputs' norm has axes ${build.showShape(m.axes)}`,
          `it can have those of ${build.showShape(node.axes)}`,
        );
    return { path, value: handle(node) };
  });
}
/** The axes of a bound of these logits: of the inputs' norms those that stack layers alone. Where the logits have none, what
 *  the compiler says of them counts, and not the axes. */
function apart(logits: Node, what: BoundNode["what"]): Shape {
  const names = new Set(separation(logits) ?? []);
  const layers = new Set<string>();
  for (let at = logits; at.op === "emit"; at = at.of) layers.add(at.loop.axis);
  return Object.fromEntries(Object.entries(logits.axes).filter(([a]) => names.has(a) && (what !== "inputs" || layers.has(a))));
}
/** δ, f₀, D have no other axes than the weight. */
function within(what: string, w: Node & { readonly name: string }, x: Node): void {
  const wrong = Object.keys(x.axes).filter((a) => x.axes[a] !== w.axes[a]);
  if (wrong.length > 0)
    throw new RuleError(`${what} of "${w.name}" has ${quote(wrong)}, which the weight has not or in another size: ${build.showShape(w.axes)}`);
}
/** The inputs that the label names and the logits are computed from, as they are seen where the logits are. */
function inputsOf(value: Node): readonly Node[] {
  const loops: Loop[] = [];
  let at = value;
  for (; at.op === "emit"; at = at.of) loops.push(at.loop);
  const graph = survey([value]);
  const used = new Set(graph.map((v) => v.node));
  return (at as LabelNode).inputs.filter((x) => isNode(x) && used.has(x)).map((x) => outside(x, loops, graph));
}
