// The benchmark's command line.
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { type Either, left, right } from "fp-ts/lib/Either.js";

/** Against other systems. */
const COMPARISONS = ["gemm", "attention", "step", "compile"] as const;
export const PARTS = [...COMPARISONS, "quack"] as const;
export type Part = (typeof PARTS)[number];
export const SIZES = ["micro", "tiny", "small"] as const;
export type Size = (typeof SIZES)[number];

export interface Arguments {
  readonly parts: readonly Part[];
  /** A table of our own step's kernels instead of comparisons. */
  readonly profile: boolean;
  readonly size: Size;
  /** null: what the part takes by itself. */
  readonly pairs: number | null;
  readonly threads: number;
  readonly json: boolean;
  readonly save: boolean;
  /** A folder with bin/python: a virtual environment that has torch. */
  readonly peers: string | null;
  readonly help: boolean;
}

export const HELP = `npm run bench -- [gemm|attention|step|compile|all|quack|profile] [options]

  gemm      matrix products against OpenBLAS, and the machine's own peak
  attention variants of attention, forward and backward, against PyTorch's fastest form of each
  step      a training step of the decoder against PyTorch, eager and compiled
  compile   from a process's start to its first step, with an empty and a filled cache, against torch.compile
  all       these four (default)
  quack     our own step with QuacK and with QK norm against the step with neither, for AdamW and Muon
  profile   our own step, kernel by kernel

  --size micro|tiny|small   the decoder (default tiny)
  --pairs N                 rounds in which each system runs once (default 7; compile: 3; quack: 40)
  --threads N               of every system (default 2, or 1 on a single core)
  --peers DIR               a Python environment with torch (DIR/bin/python); else python3 is asked
  --json                    results as JSON on standard output
  --save                    write them to bench/RESULTS.md, in place of the section of the same command
`;

const whole = (text: string, least: number, most: number): number | null =>
  /^\d{1,6}$/.test(text) && Number(text) >= least && Number(text) <= most ? Number(text) : null;

/** Left says what is wrong and what would be right. */
export function readArguments(argv: readonly string[]): Either<string, Arguments> {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        size: { type: "string", default: "tiny" },
        pairs: { type: "string" },
        threads: { type: "string" },
        peers: { type: "string" },
        json: { type: "boolean", default: false },
        save: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    const what = positionals[0] ?? "all";
    if (positionals.length > 1) return left(`one thing at a time, or all of them: ${positionals.join(" ")} are ${positionals.length}`);
    const part = PARTS.find((p) => p === what);
    if (!part && what !== "all" && what !== "profile") return left(`there is no benchmark "${what}": ${[...PARTS, "all", "profile"].join(", ")} are`);
    const size = SIZES.find((s) => s === values.size);
    if (!size) return left(`--size ${values.size}: ${SIZES.join(", ")} are the sizes`);
    const pairs = values.pairs === undefined ? null : whole(values.pairs, 1, 1000);
    if (values.pairs !== undefined && pairs === null) return left(`--pairs ${values.pairs}: a number from 1 to 1000 is wanted`);
    const threads = values.threads === undefined ? Math.min(2, availableParallelism()) : whole(values.threads, 1, 1024);
    if (threads === null) return left(`--threads ${values.threads}: a number from 1 to 1024 is wanted`);
    const { json, save, help } = values;
    if (save && what === "profile") return left("--save keeps comparisons; profile has none");
    return right({
      parts: part ? [part] : [...COMPARISONS],
      profile: what === "profile",
      size,
      pairs,
      threads,
      json,
      save,
      peers: values.peers ?? null,
      help,
    });
  } catch (e) {
    return left(e instanceof Error ? e.message : String(e));
  }
}
