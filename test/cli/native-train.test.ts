// `mallard train` on the native device, from the shell: Ctrl-C and --resume give the unbroken run bit by bit; a run that
// diverges names step and weight, and keeps its last sound checkpoint.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { needs } from "../require.js";
import { temporary } from "../train/fixtures.js";
import { type Ran, root, runNode } from "./mallard.js";

const start = ["--import", pathToFileURL(join(root, "node_modules/tsx/dist/esm/index.mjs")).href, join(root, "cli/main.ts")];
const usual = ["--device", "native", "--threads", "1", "--model", "micro", "--eval-batches", "1", "--probe-every", "0", "--sample", "0"];
const mallard = (cwd: string, args: readonly string[]): Promise<Ran> => runNode([...start, ...args], { cwd });
const checkpointOf = (folder: string, run: string): Buffer => readFileSync(join(folder, "runs", run, "checkpoint.safetensors"));
const named = (folder: string, name: string): string => readdirSync(join(folder, "runs")).find((run) => run.startsWith(`${name}-`))!;

describe.skipIf(!(await needs("compiler")))("natively", () => {
  test("Ctrl-C and --resume, with Muon under QuacK and a falling rate, are the unbroken run; a sample follows from it", async () => {
    using folder = temporary();
    writeFileSync(join(folder.path, "text.txt"), "It was the best of times, it was the worst of times. ".repeat(100));
    const settings = [...usual, "--data", "text.txt", "--optimizer", "muon", "--attention", "mla", "--schedule", "cosine", "--clip", "1"];
    const run = (name: string) => ["train", ...settings, "--steps", "60", "--name", name];
    expect((await mallard(folder.path, run("whole"))).code).toBe(0);
    const child = spawn(process.execPath, [...start, ...run("broken")], { cwd: folder.path, stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    child.stderr.on("data", (data: Buffer) => {
      const before = stderr.includes("step 3/");
      stderr += data.toString();
      if (!before && stderr.includes("step 3/")) child.kill("SIGINT");
    });
    expect(await new Promise((done) => child.on("close", done))).toBe(130);
    const [whole, broken] = [named(folder.path, "whole"), named(folder.path, "broken")];
    expect(checkpointOf(folder.path, broken).equals(checkpointOf(folder.path, whole))).toBe(false);
    const again = await mallard(folder.path, ["train", "--resume", broken, "--sample", "0", "--json"]);
    expect(JSON.parse(again.stdout)).toMatchObject({ steps: 60, interrupted: false });
    expect(checkpointOf(folder.path, broken).equals(checkpointOf(folder.path, whole))).toBe(true);
    const text = await mallard(folder.path, ["generate", "--run", broken, "--tokens", "80", "--device", "native", "--json"]);
    expect(JSON.parse(text.stdout)).toMatchObject({ step: 60, text: expect.stringMatching(/^[\s\S]{60,}$/) });
  });

  test("a run that diverges says at which step and in which weight, and its last checkpoint can be read", async () => {
    using folder = temporary();
    writeFileSync(join(folder.path, "text.txt"), "It was the best of times, it was the worst of times. ".repeat(100));
    const wild = ["--intervention", "none", "--warmup", "0", "--lr", "1e30", "--eval-every", "1", "--data", "text.txt"];
    const ran = await mallard(folder.path, ["train", ...usual, ...wild, "--steps", "9", "--name", "wild", "--json"]);
    expect(ran.code).toBe(1);
    const { error } = JSON.parse(ran.stdout);
    expect(error).toMatchObject({
      kind: "diverged",
      message: expect.stringMatching(
        /^training diverged at step 2: the gradient of blocks\.1\.mlp\.down has the norm (NaN|Infinity), and so do .*; in the step before, /,
      ),
      hint: expect.stringContaining("the checkpoint of step 1 is kept"),
    });
    const kept = await mallard(folder.path, ["train", "--resume", named(folder.path, "wild"), "--json"]);
    expect(JSON.parse(kept.stdout).error.message).toMatch(/^training diverged at step 2: /);
  });
});
