// Every rule against the same rule in plain f64, on trees with stacked layers, tall and wide matrices and gains, with rates
// by head: all of them as groups of one optimizer, so as one program.
import { describe, expect, test } from "vitest";
import { apart, each, gain, grid, input, leavesOf, model, pace, type Rates, type Rule, rename, repeat, type Tree, weight } from "../../dsl/index.js";
import { handle } from "../../dsl/tensor.js";
import { adamw, clipStep, lion, muon, schedules, sgd } from "../../models/index.js";
import type { DeviceName } from "../../runtime/devices/index.js";
import { needs } from "../require.js";
import * as dense from "./dense.js";
import { type Arrays, generator, stepper } from "./harness.js";

const LAYERS = 2;
const HEADS = 2;
/** By part of a cell: [out, in]. Heads are the blocks of `w`'s rows. */
const SIZES: Readonly<Record<string, readonly [number, number]>> = { w: [6, 5], v: [3, 7], g: [4, 1] };
const cell = model({ w: weight({ i: 5 }, { head: HEADS, dim: 3 }), v: weight({ a: 7 }, { b: 3 }), g: gain({ c: 4 }) }, {}, ({ g }) => g);
interface Case {
  readonly rule: Rule;
  readonly reference: () => dense.Reference;
  /** Works on matrices: the gain goes by AdamW. */
  readonly matrices?: boolean;
}
const jordan = (out: number, into: number) => Math.max(1, out / into) ** 0.5;
const moonlight = (out: number, into: number) => 0.2 * Math.max(out, into) ** 0.5;
const usual = { momentum: 0.95, nesterov: true, scale: jordan, decay: 0 };
const twice = schedules.times(schedules.warmup(0.5, 3), schedules.constant(3));
const cases: Readonly<Record<string, Case>> = {
  plain: { rule: sgd({ momentum: 0 }), reference: () => dense.sgd(0, false, 0) },
  plainDecay: { rule: sgd({ momentum: 0, decay: 0.2 }), reference: () => dense.sgd(0, false, 0.2) },
  momentum: { rule: sgd({ momentum: 0.8, decay: 0.1 }), reference: () => dense.sgd(0.8, false, 0.1) },
  nesterov: { rule: sgd({ nesterov: true }), reference: () => dense.sgd(0.9, true, 0) },
  adamw: { rule: adamw(), reference: () => dense.adamw(0.9, 0.95, 1e-10, 0) },
  adamwDecay: { rule: adamw({ b1: 0.8, b2: 0.999, eps: 1e-3, decay: 0.3 }), reference: () => dense.adamw(0.8, 0.999, 1e-3, 0.3) },
  lion: { rule: lion({ decay: 0.3 }), reference: () => dense.lion(0.9, 0.99, 0.3) },
  muon: { rule: muon(), matrices: true, reference: () => dense.muon(usual) },
  muonPlain: {
    rule: muon({ momentum: 0.5, nesterov: false, decay: 0.2 }),
    matrices: true,
    reference: () => dense.muon({ ...usual, momentum: 0.5, nesterov: false, decay: 0.2 }),
  },
  moonlight: { rule: muon({ moonlight: true }), matrices: true, reference: () => dense.muon({ ...usual, scale: moonlight, decay: 0.1 }) },
  clipped: { rule: clipStep(sgd(), { limit: 1.5 }), reference: () => dense.clipped(dense.sgd(0.9, false, 0), 1.5, dense.frobenius) },
  clippedSpectral: {
    rule: clipStep(sgd(), { limit: 1.2, norm: "spectral" }),
    reference: () => dense.clipped(dense.sgd(0.9, false, 0), 1.2, dense.spectral),
  },
  paced: { rule: pace(pace(lion(), 0.5), twice), reference: () => dense.paced(dense.lion(0.9, 0.99, 0), (t) => 0.5 * 1.5 * Math.min(1, t / 3)) },
};
/** Heads apart are blocks of w's rows; v has none. */
const apartCase = { rule: apart(muon(), "head"), reference: () => dense.muon({ ...usual, heads: HEADS }) };

const names = [...Object.keys(cases), "apart"];
const all = model(Object.fromEntries(names.map((n) => [n, repeat(LAYERS, cell)])), {}, () => input({}));
const groups: Record<string, Rule> = {};
for (const [name, c] of Object.entries(cases)) {
  if (c.matrices) groups[`${name}.*.g`] = adamw();
  groups[`${name}.*`] = c.rule;
}
groups["apart.*.w"] = apartCase.rule;
groups["apart.*.v"] = muon();
groups["apart.*.g"] = adamw();
const referenceOf = (name: string, part: string): dense.Reference => {
  const own = cases[name];
  if (part === "g" && (name === "apart" || own?.matrices)) return dense.adamw(0.9, 0.95, 1e-10, 0);
  if (name === "apart") return part === "w" ? apartCase.reference() : dense.muon(usual);
  return (own as Case).reference();
};

const paths = leavesOf(handle<Tree>(all.params)).map((l) => l.path);
const caseOf = (path: string) => path.split(".")[0] as string;
const partOf = (path: string) => path.split(".").at(-1) as string;
/** A layer's matrix in a flat array, which is [layer, in, out]. */
const layerOf = (x: readonly number[], part: string, layer: number): dense.Matrix => {
  const [out, into] = SIZES[part] as readonly [number, number];
  return dense.matrix(out, into, (r, c) => x[(layer * into + c) * out + r] as number);
};
const draw = (next: () => number, scale: number): Arrays =>
  Object.fromEntries(
    paths.map((p) => {
      const [out, into] = SIZES[partOf(p)] as readonly [number, number];
      return [p, Array.from({ length: LAYERS * out * into }, () => Math.fround(next() * scale))];
    }),
  );
/** Rates by layer and head, for every `w`. */
const rateAt = (layer: number, head: number) => 0.25 + layer + 0.5 * head;
const rates: Rates = Object.fromEntries(
  paths
    .filter((p) => partOf(p) === "w")
    .map((p) => {
      const table = grid({ layer: LAYERS, head: HEADS }, ({ layer, head }) => 0.25 + layer + 0.5 * head);
      return [p, handle<Rates[string]>(rename(table, { layer: caseOf(p) }))];
    }),
);

const STEPS = 6;
const devices: readonly { readonly device: DeviceName; readonly relative: number; readonly missing: boolean }[] = [
  { device: "js", relative: 1e-11, missing: false },
  { device: "native", relative: 2e-4, missing: !(await needs("compiler")) },
  { device: "gpujs", relative: 2e-4, missing: !(await needs("gpu.js")) },
];
describe.each(devices)("on $device", ({ device, relative, missing }) => {
  test.skipIf(missing).each(device === "js" ? [false, true] : [true])("every rule; rates by head: %s", async (rated) => {
    const next = generator(7);
    const start = draw(next, 0.5);
    using s = await stepper(device, handle<Tree>(all.params), each(groups), start, rated ? rates : undefined);
    const references = new Map(paths.map((p) => [p, Array.from({ length: LAYERS }, () => referenceOf(caseOf(p), partOf(p)))]));
    let want = new Map(paths.map((p) => [p, Array.from({ length: LAYERS }, (_, l) => layerOf(start[p] as readonly number[], partOf(p), l))]));
    for (let t = 1; t <= STEPS; t++) {
      const g = draw(next, [1e-3, 1, 30][t % 3] as number);
      const lr = Math.fround(0.05 / t);
      const got = await s.step(g, lr, t);
      want = new Map(
        paths.map((p) => {
          const part = partOf(p);
          return [
            p,
            (want.get(p) as dense.Matrix[]).map((w, l) => {
              const rows = Array.from({ length: w.rows }, (_, r) => lr * (rated && part === "w" ? rateAt(l, Math.floor(r / (w.rows / HEADS))) : 1));
              return (references.get(p) as dense.Reference[])[l]?.step(w, layerOf(g[p] as readonly number[], part, l), rows, t) as dense.Matrix;
            }),
          ];
        }),
      );
      for (const p of paths)
        for (let l = 0; l < LAYERS; l++) {
          const [a, b] = [layerOf(got[p] as readonly number[], partOf(p), l), (want.get(p) as dense.Matrix[])[l] as dense.Matrix];
          const far = dense.frobenius(dense.zip((x, y) => x - y, a, b)) / dense.frobenius(b);
          expect(far, `${p}, layer ${l}, step ${t}`).toBeLessThanOrEqual(relative);
        }
    }
  });
});
