// A failed case as text: the logit, how far it moved and what it may, the weights with their norms at the start and now,
// the step, the inputs, and how to run it again.
import type { LogitWeight } from "../index.js";
import type { Failure } from "./bounded.js";

/** Longest array that is written out. */
const MOST = 36;

export function counterexample(f: Failure): string {
  const { outcome, trials, bound } = f;
  const met = outcome[bound];
  const at = Object.entries(met.at).map(([a, i]) => `${a} ${i}`);
  const { tau, eta } = trials.options;
  const lines = [
    `a step moves the logits by more than their ${bound === "budget" ? "budget of the initial norms" : "certificate"}`,
    `  |Δlogit| ${short(met.change)} > ${short(met.bound)} (${ratio(met.change / met.bound)})${at.length > 0 ? ` at ${at.join(", ")}` : ""}`,
    `  τ ${tau}, η ${eta}${trials.options.norm === "spectral" ? ", spectral norms" : ""}`,
  ];
  const sizes = Object.entries(f.shape);
  if (sizes.length > 0) lines.push(`  sizes ${sizes.map(([a, n]) => `${a} ${n}`).join(", ")}`);
  for (const w of trials.weights) {
    const [start, before, now, step] = [f.case.start, f.case.before, f.case.now, outcome.steps].map((x) => x[w.path] ?? new Float64Array(0)) as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    lines.push(`  ${w.path} ${axesText(w)}`);
    lines.push(`    at the start     ${array(w.axes, start)}`);
    if (f.recipe.before.some((p) => p !== 0)) lines.push(`    a step earlier   ${array(w.axes, before)}`);
    lines.push(`    now              ${array(w.axes, now)}`);
    lines.push(`    its step         ${array(w.axes, step)}`);
  }
  for (const x of trials.inputs) lines.push(`  input ${x.name} ${array(x.axes, f.case.inputs[x.name] ?? new Float64Array(0))}`);
  if (!outcome.exact) lines.push("  (weights do not move by a multiple of the rate alone: the step is the difference of the weights)");
  lines.push(`  to run this case again: { seed: ${f.seed}, path: "${f.path}" }`);
  return lines.join("\n");
}
const axesText = (w: LogitWeight): string => `[${Object.keys(w.axes).join(", ")}]`;
const ratio = (r: number): string => (r < 2 ? `${Number((100 * (r - 1)).toPrecision(3))} % more` : `${short(r)} times`);
export const short = (x: number): string => String(Number(x.toPrecision(4)));

/** Nested brackets, row-major; a long one by its size and norm. */
export function array(axes: Readonly<Record<string, number>>, data: Float64Array): string {
  if (data.length > MOST) return `${Object.values(axes).join(" × ")} numbers of norm ${short(Math.hypot(...data))}`;
  let offset = 0;
  const sizes = Object.values(axes);
  const level = (k: number): string => {
    if (k === sizes.length) return short(data[offset++] as number);
    return `[${Array.from({ length: sizes[k] as number }, () => level(k + 1)).join(", ")}]`;
  };
  return level(0);
}
