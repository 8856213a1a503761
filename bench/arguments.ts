// The benchmark's command line.
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { namesOf, STEP_SIZES, type StepSize } from "../trainer.js";

/** Against other systems. */
const COMPARISONS = ["gemm", "attention", "step", "memory", "compile"] as const;
export const PARTS = [...COMPARISONS, "quack", "precision", "growth", "browser"] as const;
export type Part = (typeof PARTS)[number];
export const SIZES = namesOf(STEP_SIZES);
export type Size = StepSize;

export interface Arguments {
  readonly parts: readonly Part[];
  /** A table of our own step's kernels instead of comparisons. */
  readonly profile: boolean;
  /** null: what the part takes by itself. */
  readonly sizes: readonly Size[] | null;
  /** null: what the part takes by itself. */
  readonly pairs: number | null;
  readonly threads: number;
  /** Ours measures its kernels before it compiles a program. */
  readonly tune: boolean;
  readonly json: boolean;
  readonly save: boolean;
  /** A folder with bin/python: a virtual environment that has torch, jax or both. */
  readonly peers: string | null;
  /** The GPU of `browser`: the software one of Chromium, or the machine's. */
  readonly adapter: "software" | "system";
  /** Where the picture of a profile goes. */
  readonly plot: string | null;
  readonly help: boolean;
}

export const HELP = `npm run bench -- [gemm|attention|step|memory|compile|all|quack|precision|growth|browser|profile] [options]

  gemm      matrix products against OpenBLAS: squares, and each product of a training step
  attention variants of attention, forward and backward, against PyTorch's fastest form of each
  step      a training step of the decoder against PyTorch, eager and compiled, JAX, and OpenBLAS's rate
  memory    peak memory of a training step against PyTorch's, and against what must be saved
  compile   from a process's start to its first step, with an empty and a filled cache, against torch.compile
  all       these five (default)
  quack     our own step with QuacK and with QK norm against the step with neither, for AdamW and Muon
  precision our own training under each policy of storage: losses, bytes, and the time of a step
  growth    our own step against sequence length, layers, width and vocabulary, beside its FLOPs; work and barriers by threads
  browser   attention and a step of micro on WebGPU in Chromium, against jax-js and TensorFlow.js: time, dispatches, memory
  profile   our own step, kernel by kernel, with a roofline picture

  --size ${SIZES.join("|")}|all
                            the decoder, or several: tiny,small (default tiny; gemm: tiny,small,base; memory: small; precision: micro)
  --pairs N                 rounds in which each system runs once (default 7; compile, memory: 3; quack: 40)
  --tune                    ours measures its kernels first (gemm, attention, step, quack, profile), and uses what it found before
  --threads N               of every system (default 2, or 1 on a single core)
  --peers DIR               a Python environment with torch, jax or both (DIR/bin/python); else python3 is asked; browser: a folder
                            with node_modules that has @jax-js/jax and @tensorflow/tfjs with @tensorflow/tfjs-backend-webgpu
  --adapter software|system the GPU of browser: SwiftShader, which is the processor (default), or the machine's
  --json                    results as JSON on standard output
  --save                    write them to bench/RESULTS.md, in place of the section of the same command
  --plot FILE               profile: the picture as SVG (with --save: bench/roofline-SIZE.svg unless said)
`;

/** Of every system, unless --threads says: two, or the one core there is. */
export const USUAL_THREADS = Math.min(2, availableParallelism());
const whole = (text: string, least: number, most: number): number | null =>
  /^\d{1,6}$/.test(text) && Number(text) >= least && Number(text) <= most ? Number(text) : null;

/** Left: the name that is no size. */
function readSizes(text: string): Either<string, readonly Size[]> {
  if (text === "all") return right(SIZES);
  const asked = text.split(",");
  const unknown = asked.find((name) => !SIZES.some((s) => s === name));
  return unknown === undefined ? right(SIZES.filter((s) => asked.includes(s))) : left(unknown);
}

/** Left says what is wrong and what would be right. */
export function readArguments(argv: readonly string[]): Either<string, Arguments> {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        size: { type: "string" },
        pairs: { type: "string" },
        threads: { type: "string" },
        peers: { type: "string" },
        plot: { type: "string" },
        adapter: { type: "string" },
        tune: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        save: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    const what = positionals[0] ?? "all";
    if (positionals.length > 1) return left(`one thing at a time, or all of them: ${positionals.join(" ")} are ${positionals.length}`);
    const part = PARTS.find((p) => p === what);
    const profile = what === "profile";
    if (!part && what !== "all" && !profile) return left(`there is no benchmark "${what}": ${[...PARTS, "all", "profile"].join(", ")} are`);
    const sizes: Either<string, readonly Size[] | null> = values.size === undefined ? right(null) : readSizes(values.size);
    if (isLeft(sizes)) return left(`--size ${values.size}: ${SIZES.join(", ")} are the sizes, "${sizes.left}" is none`);
    const pairs = values.pairs === undefined ? null : whole(values.pairs, 1, 1000);
    if (values.pairs !== undefined && pairs === null) return left(`--pairs ${values.pairs}: a number from 1 to 1000 is wanted`);
    const threads = values.threads === undefined ? USUAL_THREADS : whole(values.threads, 1, 1024);
    if (threads === null) return left(`--threads ${values.threads}: a number from 1 to 1024 is wanted`);
    if (values.plot !== undefined && !profile) return left("--plot draws a profile: give it with profile");
    if (values.plot !== undefined && (sizes.right?.length ?? 1) > 1) return left("--plot is one file: give one --size");
    if (sizes.right !== null && (part === "growth" || part === "attention" || part === "browser"))
      return left(`${part} has sizes of its own: leave --size out`);
    const adapter = values.adapter ?? "software";
    if (adapter !== "software" && adapter !== "system") return left(`--adapter ${adapter}: software or system is wanted`);
    const { tune, json, save, help } = values;
    return right({
      parts: part ? [part] : profile ? [] : [...COMPARISONS],
      profile,
      sizes: sizes.right,
      pairs,
      threads,
      tune,
      json,
      save,
      peers: values.peers ?? null,
      adapter,
      plot: values.plot ?? null,
      help,
    });
  } catch (e) {
    return left(e instanceof Error ? e.message : String(e));
  }
}
