// Ours in a browser against what else trains there: causal attention with its gradients, and the training step of `micro`, on
// one WebGPU adapter in one Chromium. Time is compared, and what is asked of WebGPU: dispatches, and bytes of buffers that
// exist at once, which say on a software adapter what its time cannot.
import { compile, grad, input, mul, sum } from "../index.js";
import { causal } from "../models/index.js";
import { STEP_SIZES } from "../trainer.js";
import { bundled, type Counts, Pages, type System, type Task } from "./browser-page.js";
import { rounds, type Showing } from "./contestant.js";
import type { Context, Outcome } from "./parts.js";
import { type Row, row } from "./results.js";
import { median } from "./statistics.js";

/** Every way that a system has of its own to write a task; the fastest counts. */
const PEERS = [
  { name: "jax-js", module: "/page/jax-js.js", packages: "@jax-js/jax", forms: ["nn.dotProductAttention", "written out"] },
  { name: "TensorFlow.js", module: "/page/tfjs.js", packages: "@tensorflow/tfjs @tensorflow/tfjs-backend-webgpu", forms: ["eager"] },
] as const;
const OURS = { name: "Mallard", module: "/ours.js" };
/** Of ours over theirs: less time than any peer, and a third of the dispatches of jax-js, which compiles too. */
const BAR = { ms: 1, dispatches: 1 / 3 };
const SLICE_SECONDS = 1.5;
const TRIAL_SECONDS = 0.5;

/** Uniform in [0, 1), always the same. */
function generator(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 0) / 2 ** 32;
  };
}
/** About normal: the sum of twelve, less six. */
const normals = (next: () => number, n: number) =>
  Float32Array.from({ length: n }, () => Array.from({ length: 12 }, next).reduce((a, b) => a + b, -6));

const ATTENTION = { head: 2, time: 256, dim: 32 };
function attentionTask(): Task {
  const next = generator();
  const tensor = () => normals(next, ATTENTION.head * ATTENTION.time * ATTENTION.dim);
  return { what: "attention", sizes: ATTENTION, data: { q: tensor(), k: tensor(), v: tensor(), g: tensor() } };
}
function stepTask(): Task {
  const { vocab, model, layer, head, ff, time, batch } = STEP_SIZES.micro;
  const next = generator();
  const ids = () => Int32Array.from({ length: batch * time }, () => Math.floor(vocab * next()));
  const weights = vocab * model + layer * (4 * model ** 2 + 3 * model * ff);
  const sizes = { vocab, model, layer, head, ff, time, batch };
  return { what: "step", sizes, data: { tokens: ids(), next: ids(), normal: normals(next, weights) } };
}

/** The same in f64, by the oracle. */
async function exact({ data }: Task): Promise<Readonly<Record<string, ArrayLike<number>>>> {
  const { head, time, dim } = ATTENTION;
  const x = { q: input({ query: time, head, dim }), k: input({ key: time, head, dim }), v: input({ key: time, head, value: dim }) };
  const g = input({ query: time, head, value: dim });
  const out = causal(x);
  const d = grad(sum(mul(out, g), "query", "head", "value"), x);
  using program = await compile({ ...x, g }, { out, dq: d.q, dk: d.k, dv: d.v }, { device: "js" });
  return program.run({ ...(data as Record<"q" | "k" | "v" | "g", Float32Array>) }); // attentionTask's
}
/** Throws where a system computes something else than the first: attention beside f64, the losses of steps beside each other. */
function check(systems: readonly System[], expected: Readonly<Record<string, ArrayLike<number>>>): void {
  for (const s of systems)
    for (const [name, want] of Object.entries(expected)) {
      const got = s.arrays[name];
      const off = got?.length === want.length ? Array.from(want, (x, i) => Math.abs(x - (got[i] as number))) : [Number.NaN];
      const worst = off.reduce((a, b) => Math.max(b, a), 0);
      if (!(worst <= 1e-4)) throw new Error(`${s.name}: ${name} is ${worst} away from f64`);
    }
  const [first, ...others] = systems as [System, ...System[]]; // ours is always there
  for (const s of others) {
    if (s.parameters !== first.parameters) throw new Error(`${s.name} has ${s.parameters} parameters, ${first.name} ${first.parameters}`);
    for (const [i, loss] of first.losses.entries())
      if (!(Math.abs(loss - (s.losses[i] as number)) <= 1e-3))
        throw new Error(`losses of step ${i + 1} differ: ${first.name} ${loss}, ${s.name} ${s.losses[i]}`);
  }
}

export async function browser({ args, progress }: Context): Promise<Outcome> {
  progress("browser: bundling");
  const pages = await Pages.open({ adapter: args.adapter, ours: await bundled(), peers: args.peers });
  try {
    const rows: Row[] = [];
    const notes: string[] = [];
    const tasks = [
      {
        name: "attention",
        task: attentionTask(),
        title: `causal attention, forward and gradient, ${ATTENTION.head} heads, ${ATTENTION.time} × ${ATTENTION.dim}`,
      },
      { name: "step micro", task: stepTask(), title: "training step of micro" },
    ];
    for (const { name, task, title } of tasks) {
      const systems = await opened(pages, name, task, { progress, skip: (line) => notes.push(line) });
      try {
        check(systems, task.what === "attention" ? await exact(task) : {});
        rows.push(...(await compared(systems, title, { pairs: args.pairs ?? 7, progress: (line) => progress(`browser, ${name}: ${line}`) })));
        notes.push(`${name}: to the end of the first run ${systems.map((s) => `${s.name} ${(s.firstMs / 1e3).toFixed(1)} s`).join(", ")}`);
      } finally {
        for (const s of systems) s.close();
      }
    }
    notes.push(
      "Every system runs in a page of its own, on the adapter above; a run has ended when the device's queue is empty. Dispatches and bytes are counted in WebGPU's own prototypes, over one run after the first.",
      "MB: of GPU buffers that exist at once during a run, weights and optimizer state included.",
    );
    return { rows, systems: [pages.about], notes };
  } finally {
    await pages.close();
  }
}

/** Ours first; then each peer in the form that is fastest here. */
async function opened(
  pages: Pages,
  name: string,
  task: Task,
  o: { readonly progress: (line: string) => void; readonly skip: (line: string) => void },
): Promise<readonly System[]> {
  o.progress(`browser, ${name}: starting ours`);
  const all: System[] = [await pages.system(OURS.name, OURS.module, task, null)];
  for (const peer of pages.peers === null ? [] : PEERS) {
    const forms: { readonly system: System; readonly seconds: number }[] = [];
    for (const form of peer.forms)
      try {
        o.progress(`browser, ${name}: starting ${peer.name}, ${form}`);
        const system = await pages.system(peer.name, peer.module, task, form);
        forms.push({ system, seconds: median(await system.slice(0, TRIAL_SECONDS)) });
      } catch (e) {
        o.skip(
          `skipped: ${peer.name}, ${form}, ${name}: ${e instanceof Error ? e.message : String(e)} (npm install --prefix DIR ${peer.packages}, then --peers DIR)`,
        );
      }
    forms.sort((a, b) => a.seconds - b.seconds);
    for (const { system } of forms.slice(1)) system.close();
    all.push(...forms.slice(0, 1).map((f) => f.system));
  }
  if (pages.peers === null)
    o.skip(
      `skipped: ${PEERS.map((p) => p.name).join(" and ")}: npm install --prefix DIR ${PEERS.map((p) => p.packages).join(" ")}, then --peers DIR`,
    );
  return all;
}

async function compared(
  systems: readonly System[],
  group: string,
  o: { readonly pairs: number; readonly progress: (line: string) => void },
): Promise<readonly Row[]> {
  const counts = new Map<System, Counts>();
  for (const s of systems) counts.set(s, await s.counts());
  const measured = await rounds(systems, { size: 0, seconds: SLICE_SECONDS, ...o });
  const ms = (s: System): Showing => {
    const { medians, all } = measured.get(s) as Showing;
    return { medians: medians.map((x) => x * 1e3), all: all.map((x) => x * 1e3) };
  };
  const count = (of: (c: Counts) => number) => (s: System) => ({ medians: [of(counts.get(s) as Counts)], all: [of(counts.get(s) as Counts)] });
  const [ours, ...peers] = systems as [System, ...System[]];
  const figures = [
    { what: "time", unit: "ms", of: ms, limit: BAR.ms },
    { what: "dispatches", unit: "", of: count((c) => c.dispatches), limit: BAR.dispatches },
    { what: "submits", unit: "", of: count((c) => c.submits), limit: null },
    { what: "peak of buffers", unit: "MB", of: count((c) => c.peakBytes / 1e6), limit: null },
  ];
  return figures.flatMap(({ what, unit, of, limit }) =>
    (peers.length > 0 ? peers : [null]).map((p) =>
      row({
        ...{ part: "browser", group, what, unit, better: "less", ours: of(ours), theirs: p && of(p) },
        against: p === null ? "" : p.detail === "eager" ? p.name : `${p.name}, ${p.detail}`,
        bar: p === null || limit === null ? undefined : { on: "ratio", limit: Number(limit.toFixed(3)) },
      }),
    ),
  );
}
