// The golden runs as our own programs: a reference's weights, tokens, optimizer and intervention, as training programs.
//
// One program holds any number of runs, each with its own copy of the model, side by side: kernels that are equal are
// compiled once, so that ten runs take little more compilation than the two of different optimizers.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isLeft } from "fp-ts/lib/Either.js";
import { grad as gradNode } from "../../dsl/build.js";
import {
  crossEntropy,
  deriveRates,
  each,
  find,
  input,
  ints,
  leavesOf,
  max,
  mean,
  model,
  type Optimizer,
  type Scalar,
  type Tensor,
} from "../../dsl/index.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { nodeOf } from "../../dsl/tensor.js";
import { adamw, fixed, grouped, latentTransformer, muonWithAdamW, qkClip, quack, transformer } from "../../models/index.js";
import { readSafetensors } from "../../runtime/safetensors.js";
import type { ProgramSpec } from "../../runtime/session.js";
import { leavesOf as paramLeaves, trainingPrograms } from "../../runtime/training.js";
import { open, type TargetName } from "../laws/targets.js";
import { GOLDEN } from "../require.js";
import { fromReference, normsByName, placeOf, type Reference, type Weights } from "./names.js";

export const MODELS = ["llama", "gqa", "qwen3", "mla"] as const;
export type ModelName = (typeof MODELS)[number];
export const SEEDS = ["seed1", "seed2"] as const;
export type Seed = (typeof SEEDS)[number];

export interface Run {
  readonly optimizer: "adamw" | "muon";
  readonly intervention: "none" | "fixed" | "quack" | "clip";
  readonly tau: number;
  readonly norm: "frobenius" | "spectral";
  readonly lr: number;
  readonly losses: readonly number[];
  /** By step, layer and head. */
  readonly max_logits: readonly (readonly (readonly number[])[])[];
  /** Of the last step, by weight, one a head where the weight has heads. */
  readonly lr_factors: Readonly<Record<string, readonly number[]>>;
  readonly final_norms: Readonly<Record<string, number>>;
}
export const nameOf = (r: Run): string => `${r.optimizer}, ${r.intervention}${r.intervention === "quack" ? ` (${r.norm})` : ""}`;
/** What step 0 gives. */
export interface Forward {
  readonly loss: number;
  readonly logits_first_row: readonly number[];
  readonly logits_sum: number;
  readonly gradient_norms: Readonly<Record<string, number>>;
}
type Key = "vocabulary" | "model" | "layers" | "heads" | "kv_heads" | "ff" | "time" | "batch" | "head_dim";
type LatentKey = "nope" | "rope" | "c_q" | "c_kv" | "d_v";
export interface Golden extends Forward {
  readonly config: Readonly<Record<Key, number>> & Partial<Readonly<Record<LatentKey, number>>>; // the latent model alone has these
  readonly tokens: readonly (readonly number[])[];
  readonly runs: readonly Run[];
}

const read = <T>(file: string): T => JSON.parse(readFileSync(file, "utf8")) as T;
const here = fileURLToPath(new URL("./f64/", import.meta.url));
export const golden = (seed: Seed, name: ModelName): Golden => read(join(GOLDEN, seed, `${name}.json`));
/** The same runs in f64 throughout: Hugging Face's models round to f32 inside (f64/make.py), the latent model does not. */
export const exact = (seed: Seed, name: ModelName): Golden =>
  name === "mla" ? golden(seed, name) : { ...golden(seed, name), ...read<Pick<Golden, keyof Forward | "runs">>(join(here, `${seed}-${name}.json`)) };

export async function weightsOf(seed: Seed, name: ModelName): Promise<Weights> {
  const file = await readSafetensors(join(GOLDEN, seed, `${name}.safetensors`));
  if (isLeft(file)) throw file.left;
  return new Map([...file.right.tensors].map(([n, t]) => [n, { data: Float64Array.from(t.data), shape: t.shape }]));
}

function decoderOf(doc: Golden, name: ModelName) {
  const c = doc.config;
  const config = { model: c.model, layer: c.layers, head: c.heads, dim: c.head_dim, ff: c.ff, vocab: c.vocabulary };
  if (name === "llama") return transformer(config);
  if (name === "mla") {
    const { c_q: cq, c_kv: latent, nope, rope, d_v: value } = c as Readonly<Record<Key | LatentKey, number>>;
    return latentTransformer({ ...config, cq, latent, nope, rope, value });
  }
  return grouped({ ...config, group: c.kv_heads, qkNorm: name === "qwen3" });
}

/** The reference's update: AdamW at 1e-8 for all, or Muon for the hidden matrices beside AdamW at 3e-4. */
export function optimizerOf(r: Run): Optimizer {
  const adam = { eps: 1e-8 };
  const inner = r.optimizer === "adamw" ? each({ "*": adamw(adam) }) : muonWithAdamW({ ratio: 3e-4 / r.lr, adamw: adam });
  // the state trees differ; a trainer only passes them on
  switch (r.intervention) {
    case "none":
      return inner;
    case "fixed":
      return fixed(inner, { tau: r.tau });
    case "quack":
      return quack(inner, { tau: r.tau, norm: r.norm }) as unknown as Optimizer;
    case "clip":
      return qkClip(inner, { limit: r.tau });
  }
}

const near = (got: number | undefined, want: number | undefined, bar: number, what: string): void => {
  const error = Math.abs((got ?? Number.NaN) - (want ?? Number.NaN));
  if (!(error <= bar * Math.max(Math.abs(want ?? Number.NaN), bar))) throw new Error(`${what}: ${got} against ${want}`);
};
const sameNames = (got: Iterable<string>, want: object, what: string): void => {
  const [a, b] = [[...got].sort().join(" "), Object.keys(want).sort().join(" ")];
  if (a !== b) throw new Error(`${what}: of ${a} against ${b}`);
};

/** Follows these runs of a model on a device, and holds every number of theirs to `bar` (relative), those of the
 *  first step's forward pass to `forward`, which are also held to `also` (a looser reference). */
export async function follow(
  target: TargetName | "js",
  x: {
    readonly name: ModelName;
    readonly doc: Golden;
    readonly tensors: Weights;
    readonly runs: readonly Run[];
    readonly bar: number;
    readonly forward: readonly { readonly reference: Forward; readonly bar: number }[];
    /** Fewer than the reference's, whose norms and factors at the end are left out then. */
    readonly steps?: number;
    /** Instead of the reference's own: a wrong one must be found out. */
    readonly optimizer?: (r: Run) => Optimizer;
  },
): Promise<void> {
  const { name, doc, runs, bar } = x;
  const reference: Reference = name === "mla" ? "latent" : "hugging face";
  const { layers, batch, time, vocabulary } = doc.config;
  const decoder = decoderOf(doc, name) as ReturnType<typeof transformer>; // inside, only its form matters
  const all = model({ run: runs.map(() => decoder) }, { tokens: ints("time") }, ({ run, tokens }) =>
    Object.fromEntries(run.map((m, i) => [i, m({ tokens })])),
  );
  const leafOf = (t: unknown): Leaf => t as Leaf; // handles are nodes, and these are leaves
  const tokens = input({ batch, time }, "i32");
  const next = input({ batch, time }, "i32");
  const t = leafOf(input({}));
  const logits = all.bound({ tokens }) as unknown as Readonly<Record<string, Tensor<{ batch: number; time: number; vocab: number }>>>;
  const lanes = runs.map((r, i) => {
    const own = logits[String(i)] as Tensor<{ batch: number; time: number; vocab: number }>;
    const loss: Scalar = mean(crossEntropy(own, next, "vocab"), "batch", "time");
    const scores = find(loss, "scores")[0]?.value as unknown as Tensor<{ batch: number; query: number; key: number }>;
    const factors = r.intervention === "quack" ? leavesOf(deriveRates(find(loss, "logits"), { norm: r.norm })) : [];
    const params = { run: { [i]: all.params.run[i] } };
    const lr = leafOf(input({}));
    return {
      run: r,
      lr,
      factors: factors.map((f) => f.path),
      programs: trainingPrograms({
        name: `run${i}`,
        params,
        inputs: {},
        loss: nodeOf(loss, "loss"),
        optimizer: (x.optimizer ?? optimizerOf)(r),
        lr,
        t,
        metrics: () => ({
          maxima: nodeOf(max(scores, "batch", "query", "key"), "maxima"),
          ...Object.fromEntries(factors.map(({ path, tensor }) => [`f.${path}`, nodeOf(tensor, path)])),
          ...(i > 0
            ? {}
            : {
                logits: nodeOf(own, "logits"),
                ...Object.fromEntries(paramLeaves(params).map((l) => [`g.${l.name}`, gradNode(nodeOf(loss, "loss"), l)])),
              }),
        }),
      }),
    };
  });
  const spec: ProgramSpec = {
    name: "golden",
    inputs: { tokens: leafOf(tokens), next: leafOf(next), t, ...Object.fromEntries(lanes.map(({ lr }, i) => [`lr${i}`, lr])) },
    outputs: Object.assign({}, ...lanes.map(({ programs }, i) => prefixed(i, programs.step.outputs))),
    updates: lanes.flatMap(({ programs }) => programs.step.updates ?? []),
  };
  using s = await open(target);
  const params = lanes.flatMap(({ programs }) => programs.params);
  await s.hold([...params, ...lanes.flatMap(({ programs }) => programs.state)]);
  for (const l of params) await s.write(l.name, fromReference(l, x.tensors, reference));
  const first = { name: "start", inputs: {}, outputs: {}, updates: lanes.flatMap(({ programs }) => programs.start.updates ?? []) };
  if (first.updates.length > 0) await (await s.program(first)).run({});
  const step = await s.program(spec);

  const fixed = {
    tokens: Int32Array.from(doc.tokens.flatMap((r) => r.slice(0, -1))),
    next: Int32Array.from(doc.tokens.flatMap((r) => r.slice(1))),
    ...Object.fromEntries(runs.map((r, i) => [`lr${i}`, [r.lr]])),
  };
  const whole = Math.max(...runs.map((r) => r.losses.length));
  const steps = x.steps ?? whole;
  let out: Readonly<Record<string, ArrayLike<number>>> = {};
  for (let k = 0; k < steps; k++) {
    out = await step.run({ ...fixed, t: [k + 1] });
    for (const [i, r] of runs.entries()) {
      near(out[`${i}.loss`]?.[0], r.losses[k], bar, `${nameOf(r)}: loss of step ${k}`);
      const maxima = (r.max_logits[k] ?? []).flat();
      maxima.forEach((m, h) => void near(out[`${i}.maxima`]?.[h], m, bar, `${nameOf(r)}: maximum ${h} of step ${k}`));
    }
    if (k > 0) continue;
    const own = lanes[0] as (typeof lanes)[number];
    const got = out["0.logits"] as Float64Array;
    for (const f of x.forward) {
      near(out["0.loss"]?.[0], f.reference.loss, f.bar, "loss");
      const scale = Math.max(...f.reference.logits_first_row.map(Math.abs));
      f.reference.logits_first_row.forEach((want, i) => {
        const error = Math.abs((got[(time - 1) * vocabulary + i] as number) - want);
        if (!(error <= f.bar * scale)) throw new Error(`logit ${i} is off by ${error}`);
      });
      near(
        got.reduce((a, b) => a + b, 0),
        f.reference.logits_sum,
        f.bar,
        "sum of the logits",
      );
      const norms = new Map(own.programs.params.flatMap((l) => [...normsByName(l, out[`0.g.${l.name}`] as Float64Array, reference)]));
      sameNames(norms.keys(), f.reference.gradient_norms, "gradients");
      for (const [n, norm] of norms) near(norm, f.reference.gradient_norms[n], f.bar, `gradient of ${n}`);
    }
  }
  if (steps < whole) return;
  for (const [i, { run: r, programs, factors }] of lanes.entries()) {
    const norms = new Map<string, number>();
    for (const l of programs.params) for (const [n, norm] of normsByName(l, await s.read(l.name), reference)) norms.set(n, norm);
    sameNames(norms.keys(), r.final_norms, "final norms");
    for (const [n, norm] of norms) near(norm, r.final_norms[n], bar, `${nameOf(r)}: final norm of ${n}`);
    const made = new Map<string, readonly number[]>();
    for (const path of factors) {
      const f = out[`${i}.f.${path}`] as ArrayLike<number>;
      const f0 = await s.read(`optimizer.f0.${path}`);
      const heads = f.length / layers;
      for (let k = 0; k < layers; k++) {
        const of = (h: number) => (r.tau * (f[k * heads + h] as number)) / (f0[k * heads + h] as number);
        made.set(
          placeOf(path, reference).name.replace("*", String(k)),
          Array.from({ length: heads }, (_, h) => of(h)),
        );
      }
    }
    sameNames(made.keys(), r.lr_factors, `${nameOf(r)}: factors`);
    for (const [n, wanted] of Object.entries(r.lr_factors))
      wanted.forEach((w, h) => void near(made.get(n)?.[h], w, bar, `${nameOf(r)}: factor ${h} of ${n}`));
  }
}
const prefixed = (i: number, outputs: Readonly<Record<string, Node>>) =>
  Object.fromEntries(Object.entries(outputs).map(([k, n]) => [`${i}.${k}`, n]));
