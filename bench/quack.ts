// What QuacK costs: training steps of the same decoder that differ in the intervention alone, run one after the other in
// changing order. Each round gives one ratio to the step without any; QK norm, which QuacK is used instead of, stands
// beside it. Each step has a session of its own, as a training run has. Two figures of each turn: the time that its best
// step took, and the processor time of the one that took least (all threads, waiting at barriers included), which other
// work on the machine lengthens far less: with one thread it is the figure to go by wherever there is any.
import { setTimeout as sleep } from "node:timers/promises";
import { STEP_SIZES } from "../trainer.js";
import { openStep, type StepKind, type StepRule } from "./model.js";
import { type Context, type Outcome, openNative } from "./parts.js";
import { type Row, row } from "./results.js";
import { turns } from "./statistics.js";

const RULES: Readonly<Record<StepRule, string>> = { adamw: "AdamW", muon: "Muon" };
const KINDS: Readonly<Record<StepKind, string>> = { none: "no intervention", frobenius: "QuacK", spectral: "QuacK, spectral", "qk-norm": "QK norm" };
const FIGURES = { time: "", processor: ", processor time" } as const;
type Figure = keyof typeof FIGURES;
/** QuacK's step may take this many times the step without. */
const LIMIT = 1.03;
/** Turns are short, so that what a pair shares of the machine's other work is alike. */
const TURN_MS = 50;
const PAIRS = 40;
/** Threads of whoever ran last spin for some milliseconds before they sleep. */
const SETTLE_MS = 20;

interface Measured {
  readonly kind: StepKind;
  readonly step: () => Promise<unknown>;
  readonly close: () => void;
  /** Milliseconds, one a round. */
  readonly figures: Readonly<Record<Figure, number[]>>;
}

export async function quack({ args, progress }: Context): Promise<Outcome> {
  const pairs = args.pairs ?? PAIRS;
  const rows: Row[] = [];
  for (const rule of Object.keys(RULES) as StepRule[]) {
    const all: Measured[] = [];
    try {
      for (const kind of Object.keys(KINDS) as StepKind[]) {
        progress(`compiling ${args.size} with ${RULES[rule]}, ${KINDS[kind]}`);
        const session = await openNative(args.threads, args.tune ? progress : undefined);
        const close = () => session[Symbol.dispose]();
        const { step } = await openStep(session, STEP_SIZES[args.size], { rule, kind }).catch((e: unknown) => {
          close();
          throw e;
        });
        all.push({ kind, step, close, figures: { time: [], processor: [] } });
        for (let i = 0; i < 2; i++) await step();
      }
      for (let round = 0; round < pairs; round++) {
        progress(`${args.size} with ${RULES[rule]}: round ${round + 1} of ${pairs}`);
        for (const i of turns(all.length, round)) await turn(all[i] as Measured, args.threads > 1 ? SETTLE_MS : 0);
      }
      const of = (kind: StepKind, figure: Figure) => {
        const medians = (all.find((m) => m.kind === kind) as Measured).figures[figure];
        return { medians, all: medians };
      };
      for (const figure of Object.keys(FIGURES) as Figure[]) {
        const compared = (kind: StepKind, against: StepKind, bar?: number): Row =>
          row({
            part: "quack",
            what: `${args.size}, ${RULES[rule]}: ${KINDS[kind]}${FIGURES[figure]}`,
            unit: "ms",
            better: "less",
            ours: of(kind, figure),
            against: KINDS[against],
            theirs: of(against, figure),
            bar: bar === undefined ? undefined : { on: "upper", limit: bar },
          });
        rows.push(compared("frobenius", "none", LIMIT), compared("spectral", "none"), compared("qk-norm", "none"), compared("frobenius", "qk-norm"));
      }
    } finally {
      for (const m of all) m.close();
    }
  }
  const how = `${pairs} rounds; a step's figure in a round is the least of its turn (${TURN_MS} ms, one step at least)`;
  return { rows, systems: ["QuacK: by Frobenius norms unless said"], notes: [`quack: ${how}`] };
}

async function turn(m: Measured, settle: number): Promise<void> {
  if (settle > 0) await sleep(settle);
  let [time, processor] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  const end = performance.now() + TURN_MS;
  do {
    const [start, used] = [performance.now(), process.cpuUsage()];
    await m.step();
    const { user, system } = process.cpuUsage(used);
    time = Math.min(time, performance.now() - start);
    processor = Math.min(processor, (user + system) / 1e3);
  } while (performance.now() < end);
  m.figures.time.push(time);
  m.figures.processor.push(processor);
}
