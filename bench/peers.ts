// The systems that a user could take instead. Each is optional: what is missing is Left, a line that says why and what
// to do, and the comparison goes on without it.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import type { ModelConfig } from "../trainer.js";
import { type Contestant, Lines, peer } from "./contestant.js";

/** The checkout, wherever this file was compiled to. */
export const ROOT = (() => {
  let at = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(at, "package.json"))) at = dirname(at);
  return at;
})();
const source = (name: string) => join(ROOT, "bench/peers", name);
const reason = (e: unknown) => (e instanceof Error ? e.message : String(e));

/** One of the C programs, compiled now and started. */
async function compiled(name: string, file: string, threads: number): Promise<Either<string, Contestant>> {
  const folder = mkdtempSync(join(tmpdir(), "mallard-bench-"));
  try {
    const program = join(folder, "peer");
    const cc = process.env.CC || "cc";
    const done = spawnSync(cc, ["-O2", "-march=native", source(file), "-o", program, "-lpthread", "-ldl"], { encoding: "utf8" });
    if (done.status !== 0) return left(`${name}: ${cc} cannot compile bench/peers/${file}: ${done.error?.message ?? done.stderr}`);
    // Its own idle threads must not spin while others are measured.
    const lines = new Lines(name, program, [String(threads)], { OPENBLAS_NUM_THREADS: String(threads), OPENBLAS_THREAD_TIMEOUT: "20" });
    return right(peer(name, (await lines.line()).trim(), lines));
  } catch (e) {
    return left(`${name}: ${reason(e)}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
/** Its slices are of a `blasTask`, in seconds a product. */
export const openBlas = (threads: number) => compiled("OpenBLAS", "openblas.c", threads);
export interface BlasTask {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Stored transposed: a as [k, m], b as [n, k]. */
  readonly ta: boolean;
  readonly tb: boolean;
}
export const blasTask = (t: BlasTask): string => [Number(t.ta), Number(t.tb), t.batch, t.m, t.n, t.k].join(" ");
export const squareTask = (n: number): string => blasTask({ batch: 1, m: n, n, k: n, ta: false, tb: false });

export type Mode = "eager" | "compile";
export const torchName = (mode: Mode) => (mode === "compile" ? "torch.compile" : "PyTorch eager");
/** A peer's training step. */
export interface StepPeer {
  readonly contestant: Contestant;
  readonly parameters: number;
  /** From the process's start to the end of its first step. */
  readonly firstSeconds: number;
}
async function stepPeer(
  name: string,
  what: string,
  python: string,
  args: readonly string[],
  s: ModelConfig,
  env: Readonly<Record<string, string>> = {},
): Promise<Either<string, StepPeer>> {
  const sizes = [s.vocab, s.model, s.layer, s.head, s.ff, s.time, s.batch].map(String);
  const start = performance.now();
  const lines = new Lines(name, python, [...args, ...sizes], env);
  try {
    const about: unknown = JSON.parse(await lines.line());
    const firstSeconds = (performance.now() - start) / 1e3;
    if (typeof about !== "object" || about === null || !("system" in about) || !("parameters" in about))
      throw new Error("its first line is not its own");
    return right({ contestant: peer(name, String(about.system), lines), parameters: Number(about.parameters), firstSeconds });
  } catch (e) {
    lines.close();
    return left(`${name}: ${python}: ${reason(e)} (python3 -m venv DIR && DIR/bin/pip install ${what}, then --peers DIR)`);
  }
}
const pythonIn = (folder: string | null) => (folder === null ? "python3" : join(folder, "bin/python"));
/** JAX's training step, jitted whole, after its first ones. */
export const jax = (s: ModelConfig, threads: number, folder: string | null) =>
  stepPeer("JAX", "jax", pythonIn(folder), [source("jax_step.py"), "--threads", String(threads)], s);
/** PyTorch's training step, after its first one. `cache`: where torch.compile keeps what it made. */
export const torch = (mode: Mode, s: ModelConfig, threads: number, folder: string | null, cache?: string) =>
  stepPeer(
    torchName(mode),
    "torch",
    pythonIn(folder),
    [source("torch_step.py"), "--mode", mode, "--threads", String(threads)],
    s,
    cache === undefined ? {} : { TORCHINDUCTOR_CACHE_DIR: cache, TRITON_CACHE_DIR: join(cache, "triton") },
  );
export const ATTENTION = ["causal", "window", "alibi", "soft-cap", "documents"] as const;
export type AttentionVariant = (typeof ATTENTION)[number];
export interface AttentionSizes {
  readonly head: number;
  readonly time: number;
  readonly dim: number;
  readonly window: number;
}
export interface TorchAttention {
  /** Of size 0 it runs forward, of size 1 forward and backward. */
  readonly contestant: Contestant;
  /** The forms that are fastest here. */
  readonly forward: string;
  readonly both: string;
}
export async function torchAttention(
  variant: AttentionVariant,
  s: AttentionSizes,
  threads: number,
  folder: string | null,
): Promise<Either<string, TorchAttention>> {
  const python = folder === null ? "python3" : join(folder, "bin/python");
  const sizes = [s.head, s.time, s.dim, s.window].map(String);
  const lines = new Lines("PyTorch", python, [source("torch_attention.py"), "--threads", String(threads), variant, ...sizes]);
  try {
    const about: unknown = JSON.parse(await lines.line());
    if (typeof about !== "object" || about === null || !("system" in about && "forward" in about && "both" in about))
      throw new Error("its first line is not its own");
    return right({ contestant: peer(String(about.system), "", lines), forward: String(about.forward), both: String(about.both) });
  } catch (e) {
    lines.close();
    return left(`PyTorch: ${python}: ${reason(e)} (python3 -m venv DIR && DIR/bin/pip install torch, then --peers DIR)`);
  }
}
/** The present contestants; what is missing is said. */
export function present<T>(found: readonly Either<string, T>[], skip: (line: string) => void): readonly T[] {
  return found.flatMap((f) => {
    if (!isLeft(f)) return [f.right];
    skip(`skipped: ${f.left}`);
    return [];
  });
}
