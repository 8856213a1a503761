// The programs that `check` runs, and at which extents. A formula is compiled twice, with small sizes drawn at random and
// its sequences' lengths left to the run where it allows that, so that one compilation meets many lengths; the second time
// with an axis more, which it lifts over. Where a formula needs its lengths while it is built, it is compiled for each. A
// record of tensors has its own sizes: only its run-time extents vary.
import { type Either, isRight, left } from "fp-ts/lib/Either.js";
import { type ExtentsByName, type Halves, halvesOf, upTo } from "../index.js";
import { type Problem, textOf } from "../trainer.js";
import { built } from "./print-kernels.js";
import { resized, type Subject } from "./subject.js";

export interface Shape {
  readonly halves: Halves;
  /** What was drawn for the axes that are not left to the run. */
  readonly sizes: ExtentsByName;
  /** One run each. */
  readonly runs: readonly ExtentsByName[];
}

/** None, one, a few, and one beside the borders of tiles. */
const LENGTHS = [17, 3, 65, 1, 64, 0, 100, 130] as const;
const LONGEST = 130;
const SMALL = [1, 2, 3, 4, 5, 8, 16, 17] as const;
const TRIES = 30;
const LIFTED = ["batch", "lifted"] as const;

/** How long sequences are: each as the run says, or all the same; or drawn before compiling. */
type Kind = "apart" | "same" | "fixed apart" | "fixed same";
const KINDS: readonly Kind[] = ["apart", "same", "fixed apart", "fixed same"];

type FormulaSubject = Extract<Subject, { readonly kind: "formula" }>;
export function shapesOf(
  s: Exclude<Subject, { readonly kind: "program" }>,
  sequences: readonly string[],
  random: () => number,
  runs: number,
): Either<Problem, readonly Shape[]> {
  if (s.kind === "record") {
    const whole = built(s);
    return isRight(whole) ? { ...whole, right: [{ halves: halvesOf(whole.right), sizes: {}, runs: [] }] } : whole;
  }
  const free = sequences.filter((a) => !s.given.has(a));
  const refused: string[] = [];
  for (const kind of KINDS) {
    const first = draw(s, free, kind, random, 0, false, refused);
    if (first === null) continue;
    const count = kind.startsWith("fixed") ? Math.max(2, Math.min(runs, 4)) : 2;
    const more = Array.from(
      { length: count - 1 },
      (_, i) => draw(s, free, kind, random, i + 1, true, refused) ?? draw(s, free, kind, random, i + 1, false, refused),
    );
    const made = [first, ...more.filter((x) => x !== null)];
    return { _tag: "Right", right: made.map((m, i) => ({ ...m, runs: runsOf(kind, free, runs, i) })) };
  }
  return left({
    kind: "usage",
    message: `no sizes were found that the formula takes: ${refused.at(-1) ?? "it has none"}`,
    hint: "give sizes that belong together with --inputs, such as --inputs 'k=key:16,dim:8'",
  });
}

/** Builds the formula at sizes drawn anew until some fit, usual ones at last. */
function draw(
  s: FormulaSubject,
  free: readonly string[],
  kind: Kind,
  random: () => number,
  turn: number,
  lift: boolean,
  refused: string[],
): Omit<Shape, "runs"> | null {
  const pick = <T>(xs: readonly T[]): T => xs[Math.floor(random() * xs.length)] as T;
  const all = new Set(Object.values(s.sizes).flatMap(Object.keys));
  const extra = lift ? LIFTED.find((a) => !all.has(a)) : undefined;
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const length = new Map<string, number>();
    const one = kind === "same" ? upTo(LONGEST, free[0]) : LENGTHS[turn % LENGTHS.length];
    for (const a of free)
      length.set(a, kind === "apart" ? upTo(LONGEST, a) : kind === "fixed apart" ? pick(LENGTHS.filter((n) => n > 0)) : (one as number));
    const drawn: Record<string, number> = {};
    const size = (axis: string, was: number): number => {
      if (s.given.has(axis)) return was;
      const known = length.get(axis) ?? drawn[axis];
      if (known !== undefined) return known;
      drawn[axis] = attempt === TRIES - 1 ? was : pick(SMALL);
      return drawn[axis] as number;
    };
    const sizes = resized(s.sizes, size);
    const lifted = extra === undefined ? sizes : Object.fromEntries(Object.entries(sizes).map(([name, axes]) => [name, { [extra]: 3, ...axes }]));
    try {
      const whole = built({ ...s, sizes: lifted });
      if (isRight(whole)) {
        const fixed = kind.startsWith("fixed") ? Object.fromEntries(length) : {};
        return { halves: halvesOf(whole.right), sizes: { ...(extra === undefined ? {} : { [extra]: 3 }), ...drawn, ...fixed } };
      }
      refused.push(whole.left.message);
    } catch (thrown) {
      refused.push(textOf(thrown)); // these sizes are none of the formula's; what is wrong at all sizes is told at the end
    }
  }
  return null;
}

function runsOf(kind: Kind, free: readonly string[], runs: number, turn: number): readonly ExtentsByName[] {
  if (kind.startsWith("fixed") || free.length === 0) return [{}];
  return Array.from({ length: Math.min(runs, LENGTHS.length) }, (_, i) => {
    // Every other run has sequences of different lengths; the first, from which magnitudes are known, has not.
    const at = (k: number) => LENGTHS[(i + (kind === "apart" && i % 2 === 1 ? (3 + turn) * k : 0)) % LENGTHS.length] as number;
    return kind === "same" ? { [free[0] as string]: at(0) } : Object.fromEntries(free.map((a, k) => [a, at(k)]));
  });
}
