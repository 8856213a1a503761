// D holds: whatever the gradients are, no step goes further than lr·D, in either norm, for the whole matrix and for its
// heads. The gradients: random ones over 24 orders of magnitude, of one sign, alternating, sparse, none, and those that
// the bounds are attained at.
import { describe, expect, test } from "vitest";
import { apart, each, gain, input, leavesOf, model, pace, type Rule, repeat, stepsOf, type Tree, weight } from "../../dsl/index.js";
import type { Constant } from "../../dsl/node.js";
import { handle } from "../../dsl/tensor.js";
import { adamw, clipStep, lion, muon, schedules, sgd } from "../../models/index.js";
import type { DeviceName } from "../../runtime/devices/index.js";
import { needs } from "../require.js";
import * as dense from "./dense.js";
import { type Arrays, generator, stepper } from "./harness.js";

const HEADS = 2;
const [OUT, IN] = [6, 4];
/** Where the first of five Newton–Schulz steps has to begin for the last to reach its greatest value. */
const summit = (() => {
  const p = (x: number) => 3.4445 * x - 4.775 * x ** 3 + 2.0315 * x ** 5;
  let x = 0.554545;
  for (let i = 0; i < 4; i++) {
    let [lo, hi] = [0, 0.554545];
    for (let k = 0; k < 80; k++) {
      const mid = (lo + hi) / 2;
      if (p(mid) < x) lo = mid;
      else hi = mid;
    }
    x = lo;
  }
  return x;
})();
/** By kind, element (r, c) of step t's gradient. One layer a kind. */
const kinds: Readonly<Record<string, (r: number, c: number, t: number, next: () => number) => number>> = {
  random: (_r, _c, _t, next) => next(),
  scales: (_r, _c, t, next) => next() * 10 ** (12 * Math.sin(t * t)),
  "one sign": () => 0.3,
  growing: (_r, _c, t) => 1e-3 * (0.95 / 0.9) ** t,
  alternating: (r, c, t) => ((r + c + t) % 2 === 0 ? 1 : -1),
  sparse: (r, c, t) => (t % 7 === 0 && r === 2 && c === 1 ? 1e4 : 0),
  none: () => 0,
  summit: (r, c) => (r === c ? (r === 0 ? summit : r === 1 ? Math.sqrt(1 - summit * summit) : 0) : 0),
};
const LAYERS = Object.keys(kinds).length;
const cell = model({ w: weight({ i: IN }, { head: HEADS, dim: OUT / HEADS }), g: gain({ c: 3 }) }, {}, ({ g }) => g);

interface Case {
  readonly rule: Rule;
  /** Decoupled decay, which no bound counts. */
  readonly decay: number;
  /** The share of D that some kind of gradient comes near to, in the Frobenius or spectral norm of the whole. */
  readonly tight: number;
}
const ramp = schedules.times(schedules.warmup(0.5, 3), schedules.constant(3));
const cases: Readonly<Record<string, Case>> = {
  adamw: { rule: adamw(), decay: 0, tight: 0.99 },
  adamwDecay: { rule: adamw({ decay: 0.2 }), decay: 0.2, tight: 0.99 },
  adamwSlow: { rule: adamw({ b2: 0.999 }), decay: 0, tight: 0.13 },
  adamwNone: { rule: adamw({ b1: 0, b2: 0.5 }), decay: 0, tight: 0.99 },
  lion: { rule: lion({ decay: 0.1 }), decay: 0.1, tight: 1 - 1e-5 },
  paced: { rule: pace(pace(lion(), -0.5), ramp), decay: 0, tight: 1 - 1e-5 },
  muon: { rule: muon(), decay: 0, tight: 0.9999 },
  muonDecay: { rule: muon({ moonlight: true }), decay: 0.1, tight: 0.9999 },
  muonApart: { rule: apart(muon(), "head"), decay: 0, tight: 0.8 },
  clipped: { rule: clipStep(sgd(), { limit: 0.7 }), decay: 0, tight: 1 - 1e-5 },
  clippedSpectral: { rule: clipStep(sgd({ momentum: 0 }), { limit: 0.7, norm: "spectral" }), decay: 0, tight: 0.999 },
  clippedApart: { rule: apart(clipStep(sgd({ nesterov: true, decay: 0.5 }), { limit: 0.7 }), "head"), decay: 0, tight: 0.7 },
  clippedAdam: { rule: clipStep(adamw({ b2: 0.5, decay: 0.5 }), { limit: 3 }), decay: 0, tight: 1 - 1e-5 },
};
const all = model(Object.fromEntries(Object.keys(cases).map((n) => [n, repeat(LAYERS, cell)])), {}, () => input({}));
const params = handle<Tree>(all.params);
const optimizer = each({
  "muon*.*.g": adamw(),
  ...Object.fromEntries(Object.entries(cases).map(([n, c]) => [`${n}.*`, c.rule])),
});
const paths = leavesOf(params).map((l) => l.path);
const bounds = (path: string, axes: Record<string, number>) =>
  (["spectral", "frobenius"] as const).map(
    (norm) => handle<Constant>(stepsOf(optimizer, params, { [path]: input(axes) }, norm)[path]).value as number,
  );

const devices: readonly { readonly device: DeviceName; readonly steps: number; readonly slack: number; readonly missing: boolean }[] = [
  { device: "js", steps: 120, slack: 1e-9, missing: false },
  { device: "native", steps: 30, slack: 2e-4, missing: !(await needs("compiler")) },
];
describe.each(devices)("on $device", ({ device, steps, slack, missing }) => {
  test.skipIf(missing)("no step passes lr·D, and each rule comes near to it", async () => {
    const next = generator(11);
    const layer = (x: readonly number[], k: number) => dense.matrix(OUT, IN, (r, c) => x[(k * IN + c) * OUT + r] as number);
    let before: Arrays = Object.fromEntries(
      paths.map((p) => [p, Array.from({ length: LAYERS * (p.endsWith(".g") ? 3 : OUT * IN) }, () => Math.fround(0.3 * next()))]),
    );
    using s = await stepper(device, params, optimizer, before);
    const reached = new Map<string, number>();
    const broken: string[] = [];
    const limits = Object.keys(cases).map((name) => {
      const path = `${name}.*.w`;
      return {
        name,
        path,
        decay: cases[name]?.decay ?? 0,
        whole: bounds(path, { [name]: LAYERS }),
        head: bounds(path, { [name]: LAYERS, head: HEADS }),
      };
    });
    for (let t = 1; t <= steps; t++) {
      const g = Object.fromEntries(
        paths.map((p) => [
          p,
          Object.values(kinds).flatMap((f) =>
            p.endsWith(".g") ? [1, -2, 3] : Array.from({ length: OUT * IN }, (_, k) => Math.fround(f(k % OUT, Math.floor(k / OUT), t, next))),
          ),
        ]),
      );
      const lr = Math.fround(0.02 * (1.5 + Math.sin(t)));
      const after = await s.step(g, lr, t);
      for (const { name, path, decay, whole, head } of limits)
        for (let k = 0; k < LAYERS; k++) {
          const [was, is] = [layer(before[path] as readonly number[], k), layer(after[path] as readonly number[], k)];
          const step = dense.zip((a, b) => (a - b) / lr - decay * a, was, is);
          const slices = [[step, whole] as const, ...[0, 1].map((h) => [dense.rowsOf(step, (h * OUT) / HEADS, OUT / HEADS), head] as const)];
          for (const [of, most] of slices) {
            const shares = [dense.spectral(of), dense.frobenius(of)].map((n, i) => n / (most[i] as number));
            if (!shares.every((x) => x <= 1 + slack))
              broken.push(`${name}, ${Object.keys(kinds)[k]}, step ${t}, ${of.rows} rows: ${shares.join(", ")} of D`);
            if (of === step) reached.set(name, Math.max(reached.get(name) ?? 0, ...shares));
          }
        }
      before = after;
    }
    expect(broken).toEqual([]);
    if (steps >= 120)
      for (const [name, { tight }] of Object.entries(cases))
        expect(reached.get(name), `${name}: the share of D reached`).toBeGreaterThanOrEqual(tight - slack);
  });
});
