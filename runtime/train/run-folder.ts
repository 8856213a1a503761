// A run's folder, NAME-DATE-TIME below the folder for runs:
//
//   config.json              what is trained, how, on what (run-config.ts)
//   metrics.jsonl            one line a step (trainer.ts)
//   checkpoint.safetensors   weights ("weights.PATH"), optimizer state ("state.PATH"), and the step as metadata
//
// Files are replaced whole (files.ts), so the folder can be read at any moment and after any crash. Metrics that are
// newer than the checkpoint belong to steps that a continued run does again: they are taken off when it starts.
import { constants } from "node:fs";
import { access, mkdir, readdir, readFile, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { type Json, JsonLines, readJsonLines, toLine, writeAtomic } from "../files.js";
import { storages } from "../precision.js";
import { readSafetensors, type Tensor, writeSafetensors } from "../safetensors.js";
import { codeOf, type Problem, problem, textOf } from "./problem.js";
import type { Arrays, NamedArray } from "./program.js";
import { parseRunConfig, type RunConfig } from "./run-config.js";
import type { Metrics, RunRecord } from "./trainer.js";

const CONFIG = "config.json";
const METRICS = "metrics.jsonl";
const CHECKPOINT = "checkpoint.safetensors";

export interface Checkpoint {
  readonly step: number;
  readonly weights: Arrays;
  readonly state: Arrays;
}
/** A run that has been opened; `resume` makes it one that is written to. */
export interface RunFolder {
  readonly path: string;
  readonly config: RunConfig;
  readCheckpoint(): Promise<Either<Problem, Checkpoint>>;
  /** Goes on after `step` with a changed configuration. */
  resume(config: RunConfig, step: number): Promise<Either<Problem, WritableRun>>;
}
export interface WritableRun extends RunRecord {
  readonly path: string;
  [Symbol.dispose](): void;
}

/** Why no run could be kept below `parent`, found before anything that takes time; null where nothing speaks against it. */
export async function checkParent(parent: string): Promise<Problem | null> {
  const wanted = resolve(parent);
  for (let at = wanted; ; at = dirname(at)) {
    try {
      if (!(await stat(at)).isDirectory()) throw new Error(`${at} is a file`);
      await access(at, constants.W_OK | constants.X_OK);
      return null;
    } catch (thrown) {
      if (codeOf(thrown) !== "ENOENT" || dirname(at) === at) return { ...noFolder(wanted, thrown), kind: "usage" };
    }
  }
}
const noFolder = (parent: string, thrown: unknown): Problem => ({
  kind: "run",
  message: `no folder for the run can be made in ${parent}: ${textOf(thrown)}`,
  hint: "choose a folder you may write with --out DIR",
});

/** As mkdir with `recursive`, which never ends where the system says that a folder's parent does not exist though it
 *  does (Linux: below /proc). */
async function makeFolder(path: string): Promise<void> {
  const missing: string[] = [];
  for (let at = path; !(await stat(at).catch(() => null)); at = dirname(at)) missing.push(at);
  for (const folder of missing.reverse()) {
    await mkdir(folder).catch((thrown) => {
      if (codeOf(thrown) !== "EEXIST") throw thrown;
    });
  }
}

/** Makes the folder of a new run. `now` is the time in its name. */
export async function createRun(parent: string, config: RunConfig, now = new Date()): Promise<Either<Problem, WritableRun>> {
  const stamp = now.toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  try {
    await makeFolder(resolve(parent));
    for (let n = 1; ; n++) {
      const path = resolve(parent, `${config.name}-${stamp}${n === 1 ? "" : `-${n}`}`);
      try {
        await mkdir(path);
      } catch (thrown) {
        if (codeOf(thrown) === "EEXIST") continue;
        throw thrown;
      }
      return await open(path, config);
    }
  } catch (thrown) {
    return left(noFolder(resolve(parent), thrown));
  }
}

/** Opens a run by its folder, or by its name below `parent`. */
export async function openRun(run: string, parent: string): Promise<Either<Problem, RunFolder>> {
  for (const path of [resolve(run), resolve(parent, run)]) {
    let text: string;
    try {
      text = await readFile(join(path, CONFIG), "utf8");
    } catch (thrown) {
      if (["ENOENT", "ENOTDIR"].includes(codeOf(thrown))) continue;
      return problem("run", `the run ${path} cannot be read: ${textOf(thrown)}`, "check the folder's permissions");
    }
    const config = parseRunConfig(text, join(path, CONFIG));
    if (isLeft(config)) return config;
    return right({
      path,
      config: config.right,
      readCheckpoint: () => readCheckpoint(path),
      resume: async (changed, step) => {
        const cut = await cutMetrics(join(path, METRICS), step);
        return isLeft(cut) ? cut : open(path, changed);
      },
    });
  }
  const runs = await runsIn(parent);
  return problem(
    "usage",
    `there is no run "${run}": neither ${resolve(run)} nor ${resolve(parent, run)} has a ${CONFIG}`,
    runs.length === 0 ? "train one first: mallard train" : `runs in ${resolve(parent)}: ${runs.slice(-5).join(", ")}`,
  );
}

async function open(path: string, config: RunConfig): Promise<Either<Problem, WritableRun>> {
  const written = await writeAtomic(join(path, CONFIG), `${JSON.stringify(config, null, 2)}\n`);
  if (isLeft(written)) return failed(written.left);
  const metrics = JsonLines.open(join(path, METRICS));
  if (isLeft(metrics)) return failed(metrics.left);
  const lines = metrics.right;
  return right({
    path,
    append(line: Metrics) {
      const done = lines.append({ ...line });
      return isLeft(done) ? failed(done.left) : done;
    },
    async save(step, weights, state) {
      // The lines up to this step must not be newer than the checkpoint that counts on them.
      const synced = lines.sync();
      if (isLeft(synced)) return failed(synced.left);
      const tensors = new Map<string, Tensor>();
      for (const [name, a] of weights) tensors.set(`weights.${name}`, { dtype: "f32", ...a });
      for (const [name, a] of state) tensors.set(`state.${name}`, { dtype: "f32", ...a });
      const done = await writeSafetensors(
        join(path, CHECKPOINT),
        tensors,
        new Map([
          ["format", "mallard"],
          ["step", `${step}`],
        ]),
      );
      return isLeft(done) ? failed(done.left) : right(undefined);
    },
    [Symbol.dispose]: () => lines.close(),
  });
}
const failed = (error: Error): Either<Problem, never> =>
  left({ kind: "run", message: error.message, hint: "what was written before is whole; solve that and continue with --resume" });

async function readCheckpoint(folder: string): Promise<Either<Problem, Checkpoint>> {
  const path = join(folder, CHECKPOINT);
  const read = await readSafetensors(path);
  if (isLeft(read)) {
    const missing = await stat(path).then(
      () => false,
      (thrown) => codeOf(thrown) === "ENOENT",
    );
    return missing
      ? problem(
          "run",
          `the run ${folder} has no checkpoint: it ended before its first one`,
          "start a new run; --eval-every N writes a checkpoint every N steps",
        )
      : problem("run", read.left.message, "restore the file, or start a new run");
  }
  const { tensors, metadata } = read.right;
  const step = Number(metadata.get("step"));
  const damaged = (what: string): Either<Problem, never> =>
    problem("run", `${path} is no checkpoint of a run: ${what}`, "restore the file, or start a new run");
  if (!Number.isSafeInteger(step) || step < 0) return damaged(`its metadata gives no step`);
  const weights = new Map<string, NamedArray>();
  const state = new Map<string, NamedArray>();
  for (const [name, { dtype, shape, data }] of tensors) {
    const into = name.startsWith("weights.") ? weights : name.startsWith("state.") ? state : null;
    if (into === null) return damaged(`"${name}" is neither a weight nor optimizer state`);
    const storage = storages.find((s) => s === dtype);
    if (storage === undefined || !(data instanceof Float32Array))
      return damaged(`"${name}" is ${dtype}, and should be one of ${storages.join(", ")}`);
    into.set(name.slice(name.indexOf(".") + 1), { dtype: storage, shape, data });
  }
  return right({ step, weights, state });
}

/** Keeps the lines up to `step`. */
async function cutMetrics(path: string, step: number): Promise<Either<Problem, void>> {
  const lines = await readJsonLines(path);
  if (isLeft(lines)) return lines.left.code === "ENOENT" ? right(undefined) : failed(lines.left);
  const kept = lines.right.filter((line: Json) => typeof line === "object" && line !== null && "step" in line && Number(line.step) <= step);
  const written = await writeAtomic(path, kept.map(toLine).join(""));
  return isLeft(written) ? failed(written.left) : right(undefined);
}

/** Names of runs, oldest first. */
async function runsIn(parent: string): Promise<string[]> {
  try {
    const names = (await readdir(parent, { withFileTypes: true })).filter((e) => e.isDirectory()).map((e) => e.name);
    const dated = await Promise.all(
      names.map(async (name) => ({ name, at: (await stat(join(parent, name, CONFIG)).catch(() => null))?.mtimeMs ?? null })),
    );
    return dated
      .flatMap(({ name, at }) => (at === null ? [] : [{ name, at }]))
      .sort((a, b) => a.at - b.at)
      .map(({ name }) => name);
  } catch (thrown) {
    if (["ENOENT", "ENOTDIR"].includes(codeOf(thrown))) return [];
    throw thrown;
  }
}
