import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Either, isLeft, isRight } from "fp-ts/lib/Either.js";
import { FULL } from "../../runtime/precision.js";
import { defaultsOf, type ModelConfig, type ProgramConfig, type TrainerConfig } from "../../runtime/train/config.js";
import { RUN_FORMAT, type RunConfig } from "../../runtime/train/run-config.js";

export const model: ModelConfig = { vocab: 256, model: 8, layer: 2, head: 2, ff: 16, time: 8, batch: 2, attention: { kind: "mha" } };
export const trainer: TrainerConfig = {
  steps: 20,
  lr: 0.01,
  schedule: "constant",
  warmup: 5,
  cooldown: 0,
  evalEvery: 8,
  evalBatches: 3,
  probeEvery: 5,
};
export const text = Uint8Array.from({ length: 4000 }, (_, i) => (i * i * 31 + i * 7) % 256);
export const corpus = { train: text.subarray(0, 3800), validation: text.subarray(3800) };
export const program: ProgramConfig = {
  ...defaultsOf("none"),
  optimizer: "adamw",
  partner: 1,
  decay: 0,
  intervention: "none",
  tau: 0.1,
  clip: null,
  clipStep: null,
  zLoss: 0,
  bounds: false,
  accumulate: 2,
  probeSequences: 1,
  precision: FULL,
  device: "js",
  threads: 1,
  seed: 7,
};
export const rate = (t: number): number => trainer.lr * Math.min(1, t / trainer.warmup);
export const runConfig: RunConfig = {
  format: RUN_FORMAT,
  mallard: "0.0.0",
  name: "test",
  created: "2026-01-01T00:00:00.000Z",
  model,
  program,
  trainer,
  data: { name: "text", file: null, sha256: "0" },
};

export function temporary(): { readonly path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), "mallard-test-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
export function value<T>(e: Either<unknown, T>): T {
  if (isRight(e)) return e.right;
  throw new Error(`a left: ${JSON.stringify(e.left)}`);
}
export function fault<L>(e: Either<L, unknown>): L {
  if (isLeft(e)) return e.left;
  throw new Error("a right where a left was expected");
}
