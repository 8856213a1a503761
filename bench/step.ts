// A training step of the decoder (forward, backward, AdamW) against PyTorch's.

import { STEP_SIZES } from "../trainer.js";
import { type Contestant, rounds, type Showing } from "./contestant.js";
import { openStep } from "./model.js";
import { type Context, type Outcome, openNative, ours, repeated } from "./parts.js";
import { type Mode, present, torch, torchName } from "./peers.js";
import { digits, type Row, row } from "./results.js";
import { median } from "./statistics.js";

const MODES: readonly Mode[] = ["compile", "eager"];
const SLICE_SECONDS = 1.2;

export async function step({ args, progress }: Context): Promise<Outcome> {
  const s = STEP_SIZES[args.size];
  const notes: string[] = [];
  progress(`step of ${args.size}`);
  using session = await openNative(args.threads);
  const own = await openStep(session, s);
  const loss = async () => (await own.step()).loss?.[0] as number;
  const first = await loss();
  for (let i = 0; i < 9; i++) await own.step();
  const later = await loss();
  // One batch, over and over: whatever does not learn it is no training step.
  if (!(later < first)) throw new Error(`ten steps on one batch change the loss from ${first} to ${later}`);
  notes.push(`step ${args.size}: ${own.parameters} parameters; ten steps on one batch take the loss from ${first.toFixed(3)} to ${later.toFixed(3)}`);

  progress("starting PyTorch");
  const peers = present(await Promise.all(MODES.map((m) => torch(m, s, args.threads, args.peers))), (line) => notes.push(line));
  try {
    for (const p of peers) {
      if (p.parameters !== own.parameters)
        throw new Error(`${p.contestant.name} has ${p.parameters} parameters, ours ${own.parameters}: not the same model`);
      await p.contestant.slice(0, 1);
    }
    const mine = ours(
      "",
      (_, seconds) => repeated(seconds, own.step),
      () => undefined,
    );
    const measured = await rounds([mine, ...peers.map((p) => p.contestant)], { size: 0, seconds: SLICE_SECONDS, pairs: args.pairs ?? 7, progress });
    const ms = (c: Contestant): Showing => {
      const { medians, all } = measured.get(c) as Showing;
      return { medians: medians.map((x) => x * 1e3), all: all.map((x) => x * 1e3) };
    };
    const mineMs = ms(mine);
    const rows: Row[] = MODES.map((mode) => {
      const p = peers.find((x) => x.contestant.name === torchName(mode));
      const bar = mode === "compile" && args.size === "tiny" ? { on: "ratio" as const, limit: 1.5 } : undefined;
      return row({
        part: "step",
        what: `step ${args.size}`,
        unit: "ms",
        better: "less",
        ours: mineMs,
        against: torchName(mode),
        theirs: p ? ms(p.contestant) : null,
        bar,
      });
    });
    // 6 a parameter and token, and causal attention's half of 12·layers·time²·width.
    const flops = 6 * own.parameters * s.batch * s.time + 6 * s.layer * s.batch * s.time ** 2 * s.model;
    notes.push(`step ${args.size}: Mallard ${digits(flops / median(mineMs.medians) / 1e6)} GFLOP/s of the model's own ${digits(flops / 1e9)} GFLOP`);
    return { rows, systems: peers.map((p) => `${p.contestant.name}: ${p.contestant.detail}`), notes };
  } finally {
    for (const p of peers) p.contestant.close();
  }
}
