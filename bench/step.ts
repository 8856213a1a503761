// A training step of the decoder (forward, backward, AdamW) against PyTorch's, eager and compiled, and JAX's; and its rate
// against what OpenBLAS and the processor reach in the same rounds.

import { STEP_SIZES } from "../trainer.js";
import type { Size } from "./arguments.js";
import { type Contestant, rounds, type Showing } from "./contestant.js";
import { limitRows, openLimits, speedOf } from "./limits.js";
import { openStep } from "./model.js";
import { type Context, type Outcome, openNative, ours, repeated } from "./parts.js";
import { jax, type Mode, present, type StepPeer, torch, torchName } from "./peers.js";
import { digits, type Row, row } from "./results.js";
import { median } from "./statistics.js";

const MODES: readonly Mode[] = ["compile", "eager"];
/** Shares of a slice: a step at least, however long it is. */
const SLICE_SECONDS = 1.2;
const LIMIT_SECONDS = 0.25;
/** Our time in units of the faster PyTorch's that is wanted on two threads. */
const BAR: Readonly<Record<Size, number>> = { micro: 0.5, tiny: 0.667, small: 0.8, base: 0.769 };
/** The share of OpenBLAS's rate that is wanted on two threads. */
const RATE: { readonly [S in Size]?: number } = { small: 0.8, base: 0.8 }; // smaller steps are not made of products alone
/** One batch, over and over: whatever does not learn it is no training step. So many steps show it, fewer where they are long. */
const LEARNING = { steps: 10, seconds: 15, least: 3 };

/** 6 a parameter and token, and causal attention's half of 12·layers·time²·width. */
export const stepFlops = (s: { readonly layer: number; readonly batch: number; readonly time: number; readonly model: number }, parameters: number) =>
  6 * parameters * s.batch * s.time + 6 * s.layer * s.batch * s.time ** 2 * s.model;

export async function step({ args, progress }: Context): Promise<Outcome> {
  const s = STEP_SIZES[args.size];
  const notes: string[] = [];
  progress(`step of ${args.size}`);
  using session = await openNative(args.threads, args.tune ? progress : undefined);
  const own = await openStep(session, s);
  const loss = async () => (await own.step()).loss?.[0] as number;
  const first = await loss();
  let [later, steps] = [first, 1];
  for (const end = performance.now() + LEARNING.seconds * 1e3; steps < LEARNING.least || (steps < LEARNING.steps && performance.now() < end); steps++)
    later = await loss();
  if (!(later < first)) throw new Error(`${steps} steps on one batch change the loss from ${first} to ${later}`);
  notes.push(
    `step ${args.size}: ${own.parameters} parameters; ${steps} steps on one batch take the loss from ${first.toFixed(3)} to ${later.toFixed(3)}`,
  );

  const peers: StepPeer[] = [];
  const start = async (name: string, open: () => ReturnType<typeof torch>) => {
    progress(`starting ${name}`);
    peers.push(...present([await open()], (line) => notes.push(line)));
  };
  const limits = await openLimits(args.threads, (line) => notes.push(line));
  try {
    // One after the other: compilers beside each other would want more memory than there may be.
    for (const mode of MODES) await start(torchName(mode), () => torch(mode, s, args.threads, args.peers));
    await start("JAX", () => jax(s, args.threads, args.peers));
    for (const p of peers) {
      if (p.parameters !== own.parameters)
        throw new Error(`${p.contestant.name} has ${p.parameters} parameters, ours ${own.parameters}: not the same model`);
      await p.contestant.slice(0, Math.min(1, SLICE_SECONDS));
    }
    const mine = ours(
      "",
      (_, seconds) => repeated(seconds, own.step),
      () => undefined,
    );
    const brief = limits.all.map((c): Contestant => ({ ...c, slice: (task, seconds) => c.slice(task, Math.min(seconds, LIMIT_SECONDS)) }));
    const contestants = [mine, ...peers.map((p) => p.contestant), ...brief];
    const measured = await rounds(contestants, { size: 0, seconds: SLICE_SECONDS, pairs: args.pairs ?? 7, progress });
    const ms = (c: Contestant): Showing => {
      const { medians, all } = measured.get(c) as Showing;
      return { medians: medians.map((x) => x * 1e3), all: all.map((x) => x * 1e3) };
    };
    const same = { part: "step", group: args.size, what: `step ${args.size}` };
    const faster = fasterOf(
      peers.map((p) => p.contestant).filter((c) => MODES.some((m) => torchName(m) === c.name)),
      ms,
    );
    const rows = [...MODES.map(torchName), "JAX"].map((name): Row => {
      const p = peers.find((x) => x.contestant.name === name)?.contestant;
      const bar = p !== undefined && p === faster && args.threads === 2 ? { on: "ratio" as const, limit: BAR[args.size] } : undefined;
      return row({ ...same, unit: "ms", better: "less", ours: ms(mine), against: name, theirs: p ? ms(p) : null, bar });
    });
    if (faster) notes.push(`step ${args.size}: the faster PyTorch, which the bar is against, is ${faster.name}`);
    const flops = stepFlops(s, own.parameters);
    const rate = speedOf(measured.get(mine) as Showing, flops);
    notes.push(
      `step ${args.size}: ${digits(flops / 1e9)} GFLOP are the model's own: 6 a parameter and token, and the half of attention that is not masked`,
    );
    const byName = new Map(brief.map((c, i) => [limits.all[i] as Contestant, measured.get(c) as Showing]));
    rows.push(
      ...limitRows(limits, byName, { ...same, what: `rate of step ${args.size}`, ours: rate }, args.threads === 2 ? RATE[args.size] : undefined),
    );
    return { rows, systems: peers.map((p) => `${p.contestant.name}: ${p.contestant.detail}`), notes };
  } finally {
    for (const p of peers) p.contestant.close();
    limits.close();
  }
}
/** By the median of its rounds. */
function fasterOf(all: readonly Contestant[], ms: (c: Contestant) => Showing): Contestant | undefined {
  const time = (c: Contestant) => median(ms(c).medians);
  return all.reduce<Contestant | undefined>((best, c) => (best === undefined || time(c) < time(best) ? c : best), undefined);
}
