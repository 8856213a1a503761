// Muon: momentum made orthogonal by Newton–Schulz steps, on the whole matrix as it is stored, heads fused; `apart(muon(),
// "head")` takes every head for itself. What is no hidden matrix (embedding, output head, gains) goes by AdamW.
import {
  apart as byAxis,
  dot,
  each,
  formula,
  map,
  norm,
  type Optimizer,
  pace,
  type Rule,
  RuleError,
  rename,
  repeat,
  rule,
  size,
  type Tree,
} from "../../dsl/index.js";
import { count, positive, share } from "./checks.js";
import { type AdamWOptions, adamw } from "./elementwise.js";

/** X ← aX + (bA + cA²)X with A = XXᵀ (Jordan 2024). */
const newtonSchulz = formula({ X: "row col" }, ({ X }) => {
  const A = dot(X, rename(X, { row: "row2" }), "col");
  const AA = dot(rename(A, { row2: "k" }), rename(A, { row: "k" }), "k");
  const AX = dot(A, rename(X, { row: "row2" }), "row2"),
    AAX = dot(AA, rename(X, { row: "row2" }), "row2");
  return map({ X, AX, AAX }, ({ X, AX, AAX }) => 3.4445 * X - 4.775 * AX + 2.0315 * AAX);
});
/** Above the greatest singular value after any number of steps: one step takes [0, 1] to [0, 1.20238], at x = 0.55455,
 *  and that interval into itself. */
const reach = 1.2024;
/** The same where products are rounded to bf16. */
const reachBf16 = 1.25;

export interface MuonOptions {
  readonly momentum?: number;
  /** The gradient is averaged once more with the momentum. On unless said. */
  readonly nesterov?: boolean;
  /** Newton–Schulz steps. */
  readonly steps?: number;
  /** The scale 0.2·√max(out, in), which gives a step AdamW's size, and decay 0.1 unless said (Liu 2025). */
  readonly moonlight?: boolean;
  readonly decay?: number;
  /** The bound allows for products in bf16. */
  readonly bf16?: boolean;
}
/** Momentum, orthogonalised (Jordan 2024), times √max(1, out/in). D = 1.2024·scale, times √rank in the Frobenius norm. */
export const muon = ({
  momentum = 0.95,
  nesterov = true,
  steps = 5,
  moonlight = false,
  decay = moonlight ? 0.1 : 0,
  bf16 = false,
}: MuonOptions = {}): Rule => {
  share("muon", "momentum", momentum);
  count("muon", "steps", steps, 1);
  positive("muon", "decay", decay, false);
  const scaleOf = (out: number, into: number) => (moonlight ? 0.2 * Math.sqrt(Math.max(out, into)) : Math.sqrt(Math.max(1, out / into)));
  return rule(
    "out in",
    { m: "out in" },
    ({ w, g, m, lr }) => {
      const m1 = map({ m, g, b: momentum }, ({ m, g, b }) => b * m + (1 - b) * g);
      const u = nesterov ? map({ m1, g, b: momentum }, ({ m1, g, b }) => (1 - b) * g + b * m1) : m1;
      const tall = size(u, "out") > size(u, "in");
      const unit = map({ u, n: norm(u, "out", "in") }, ({ u, n }) => u / (n + 1e-7));
      const start = tall ? rename(unit, { out: "col", in: "row" }) : rename(unit, { out: "row", in: "col" });
      const { X } = repeat(steps, { axis: "newton", state: { X: start } }, ({ X }) => ({ X: newtonSchulz({ X }) }));
      const o = tall ? rename(X, { col: "out", row: "in" }) : rename(X, { row: "out", col: "in" });
      const s = scaleOf(size(w, "out"), size(w, "in"));
      return { w: map({ w, o, lr, s, decay }, ({ w, o, lr, s, decay }) => w - lr * (s * o + decay * w)), m: m1 };
    },
    {
      bound: ({ rows, cols, out, in: into }) => {
        const spectral = (bf16 ? reachBf16 : reach) * scaleOf(out, into);
        return { spectral, frobenius: spectral * Math.sqrt(Math.min(rows, cols)) };
      },
    },
  );
};

export interface MuonWithAdamWOptions {
  readonly muon?: MuonOptions;
  readonly adamw?: AdamWOptions;
  /** AdamW's rate as a multiple of Muon's, which the schedule gives: 3e-4 / 2e-2 unless said. */
  readonly ratio?: number;
  /** Axes along which matrices are made orthogonal apart, where they have them: ["head"] for each head by itself. */
  readonly apart?: readonly string[];
  /** Matrices that go by AdamW too, by the last name of their path: those that read or write the vocabulary. */
  readonly outer?: readonly string[];
}
/** Muon for the matrices of the hidden layers; AdamW for embedding, output head, gains and biases. */
export const muonWithAdamW = (o: MuonWithAdamWOptions = {}): Optimizer<Tree> => {
  const { ratio = 3e-4 / 2e-2, apart = [], outer = ["embed", "unembed", "head"] } = o;
  positive("muonWithAdamW", "ratio", ratio);
  const [hidden, rest] = [muon(o.muon), pace(adamw(o.adamw), ratio)];
  return each(({ path, to, from }) => {
    if (to.length === 0 || from.length === 0 || outer.includes(path.split(".").at(-1) ?? "")) return rest;
    const along = apart.filter((a) => to.includes(a) || from.includes(a));
    const whole = to.every((a) => along.includes(a)) || from.every((a) => along.includes(a));
    if (whole) throw new RuleError(`muonWithAdamW: "${path}" has no matrix apart from ${along.map((a) => `"${a}"`).join(", ")}`);
    return along.length === 0 ? hidden : byAxis(hidden, ...along);
  });
};
