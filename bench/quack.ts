// What QuacK costs: training steps of the same decoder that differ in the intervention alone, run one after the other in
// changing order. Each round gives one ratio to the step without any; QK norm, which QuacK is used instead of, stands
// beside it. Each step has a session of its own, as a training run has.
import { MODEL_SIZES } from "../trainer.js";
import { type Contestant, rounds, type Showing } from "./contestant.js";
import { openStep, type StepKind, type StepRule } from "./model.js";
import { type Context, type Outcome, openNative, ours, repeated } from "./parts.js";
import { type Row, row } from "./results.js";

const RULES: Readonly<Record<StepRule, string>> = { adamw: "AdamW", muon: "Muon" };
const KINDS: Readonly<Record<StepKind, string>> = { none: "no intervention", frobenius: "QuacK", spectral: "QuacK, spectral", "qk-norm": "QK norm" };
/** QuacK's step may take this many times the step without. */
const LIMIT = 1.03;
/** Turns are short, so that what a pair shares of the machine's other work is alike: three steps at least. */
const SLICE_SECONDS = 0.12;
const PAIRS = 40;

export async function quack({ args, progress }: Context): Promise<Outcome> {
  const s = MODEL_SIZES[args.size];
  const rows: Row[] = [];
  const notes: string[] = [];
  for (const rule of Object.keys(RULES) as StepRule[]) {
    const opened: { readonly kind: StepKind; readonly contestant: Contestant }[] = [];
    try {
      for (const kind of Object.keys(KINDS) as StepKind[]) {
        progress(`compiling ${args.size} with ${RULES[rule]}, ${KINDS[kind]}`);
        const session = await openNative(args.threads);
        const close = () => session[Symbol.dispose]();
        const own = await openStep(session, s, { rule, kind }).catch((e: unknown) => {
          close();
          throw e;
        });
        await own.step();
        opened.push({ kind, contestant: ours("", (_, seconds) => repeated(seconds, own.step), close) });
      }
      const say = (line: string) => progress(`${args.size} with ${RULES[rule]}: ${line}`);
      const measured = await rounds(
        opened.map((o) => o.contestant),
        { size: 0, seconds: SLICE_SECONDS, pairs: args.pairs ?? PAIRS, progress: say },
      );
      const ms = (kind: StepKind): Showing => {
        const { medians, all } = measured.get(opened.find((o) => o.kind === kind)?.contestant as Contestant) as Showing;
        return { medians: medians.map((x) => x * 1e3), all: all.map((x) => x * 1e3) };
      };
      const compared = (kind: StepKind, against: StepKind, bar?: number): Row =>
        row({
          part: "quack",
          what: `${args.size}, ${RULES[rule]}: ${KINDS[kind]}`,
          unit: "ms",
          better: "less",
          ours: ms(kind),
          against: KINDS[against],
          theirs: ms(against),
          bar: bar === undefined ? undefined : { on: "upper", limit: bar },
        });
      rows.push(compared("frobenius", "none", LIMIT), compared("spectral", "none"), compared("qk-norm", "none"), compared("frobenius", "qk-norm"));
    } finally {
      for (const o of opened) o.contestant.close();
    }
  }
  notes.push(`${args.pairs ?? PAIRS} rounds; a step's time in a round is the median of the steps of its turn, three at least`);
  return { rows, systems: ["QuacK: by Frobenius norms unless said"], notes };
}
