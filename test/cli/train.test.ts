// The commands train and generate from beginning to end, over the fake program (fake-mallard.ts).
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { temporary } from "../train/fixtures.js";
import { type Ran, root, runNode } from "./mallard.js";

const start = ["--import", pathToFileURL(join(root, "node_modules/tsx/dist/esm/index.mjs")).href, join(root, "test/cli/fake-mallard.ts")];
const small = ["--device", "js", "--model", "micro", "--eval-batches", "1", "--sample", "20"];
const command = (cwd: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> => runNode([...start, ...args], { cwd, env });
const runsIn = (folder: string): string[] => readdirSync(join(folder, "runs"));
const metrics = (folder: string, run: string): { readonly step: number }[] =>
  readFileSync(join(folder, "runs", run, "metrics.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

test("train makes a run; resume goes on with it; generate reads from it", async () => {
  using folder = temporary();
  const first = await command(folder.path, ["train", ...small, "--steps", "6", "--eval-every", "4", "--name", "mine"]);
  expect(first.code).toBe(0);
  expect(first.stdout).toMatch(/^Validation loss after 6 steps: \d+\.\d{4} nats a byte\n\nThe .{1,20}/s);
  expect(first.stderr).toMatch(/step 6\/6 {2}loss \d+\.\d{3} {2}validation \d+\.\d{3} {2}[\d,]+ tokens\/s/);
  const [run] = runsIn(folder.path);
  expect(run).toMatch(/^mine-\d{8}-\d{6}$/);
  expect(readdirSync(join(folder.path, "runs", run!)).sort()).toEqual(["checkpoint.safetensors", "config.json", "metrics.jsonl"]);

  const finished = await command(folder.path, ["train", "--resume", run!]);
  expect([finished.code, finished.stdout]).toEqual([2, ""]);
  expect(finished.stderr).toMatch(/has done all of its 6 steps\n {2}→ give more steps, such as --steps 12/);

  const more = await command(folder.path, ["train", "--resume", run!, "--steps", "9", "--sample", "0", "--json"]);
  const outcome = JSON.parse(more.stdout);
  expect(outcome).toMatchObject({ steps: 9, interrupted: false, sample: null });
  expect(metrics(folder.path, run!).map((l) => l.step)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(runsIn(folder.path)).toEqual([run]);

  const plain = await command(folder.path, ["generate", "--run", run!, "--device", "js", "--tokens", "5", "--temperature", "0", "--prompt", "é"]);
  // The fake's likeliest byte is the one after the last.
  expect(plain).toMatchObject({ code: 0, stdout: "é\ufffd\ufffd\ufffd\ufffd\ufffd\n" });
  const json = await command(folder.path, [
    "generate",
    "--run",
    run!,
    "--device",
    "js",
    "--tokens",
    "3",
    "--temperature",
    "0",
    "--prompt",
    "a",
    "--json",
  ]);
  expect(JSON.parse(json.stdout)).toMatchObject({ step: 9, prompt: "a", text: "bcd" });
});

test("a run's precision is asked for, kept, changed on demand, and refused where it cannot be", async () => {
  using folder = temporary();
  const policyOf = (run: string): unknown => JSON.parse(readFileSync(join(folder.path, "runs", run, "config.json"), "utf8")).program.precision;
  const policy = "params=bf16,state=bf16,update=stochastic";
  const first = await command(folder.path, ["train", ...small, "--steps", "2", "--sample", "0", "--precision", policy]);
  expect([first.code, first.stderr]).toEqual([
    0,
    expect.stringContaining("params bf16, rounded stochastically, state bf16, compute f32: 0.00 MB of weights"),
  ]);
  const [run] = runsIn(folder.path) as [string];
  expect(policyOf(run)).toEqual({ params: "bf16", state: "bf16", compute: "f32", update: "stochastic" });
  const resume = (...more: string[]) => command(folder.path, ["train", "--resume", run, "--sample", "0", ...more]);
  expect((await resume("--steps", "4", "--precision", "f32")).code).toBe(0);
  expect(policyOf(run)).toMatchObject({ params: "f32", state: "f32" });
  const squares = await resume("--steps", "5", "--precision", "state=f16");
  expect([squares.code, squares.stderr]).toEqual([2, expect.stringContaining("--precision state=f16 is not there with --optimizer adamw")]);
  const unknown = await command(folder.path, ["train", ...small, "--precision", "bf17"]);
  expect(unknown.stderr).toContain('"bf17" is no part of a policy. Give one storage, or a list');
});

test("a run goes on only with the text it was trained on", async () => {
  using folder = temporary();
  const file = join(folder.path, "text.txt");
  writeFileSync(file, "abcdefgh".repeat(1000));
  expect((await command(folder.path, ["train", ...small, "--steps", "2", "--data", "text.txt"])).code).toBe(0);
  writeFileSync(file, "hgfedcba".repeat(1000));
  const ran = await command(folder.path, ["train", "--resume", runsIn(folder.path)[0]!, "--steps", "4"]);
  expect(ran.code).toBe(1);
  expect(ran.stderr).toContain("text.txt is not the text that");
});

test("a run that diverges ends with 1 and one JSON error", async () => {
  using folder = temporary();
  const ran = await command(folder.path, ["train", ...small, "--steps", "9", "--eval-every", "2", "--json"], { FAKE_NAN: "4" });
  expect(ran.code).toBe(1);
  expect(JSON.parse(ran.stdout).error).toMatchObject({
    kind: "diverged",
    message: expect.stringMatching(/^training diverged at step 4: the loss is NaN; /),
  });
});

test("Ctrl-C ends a run with a checkpoint, and says how to go on", async () => {
  using folder = temporary();
  const child = spawn(process.execPath, [...start, "train", ...small, "--steps", "9999"], {
    cwd: folder.path,
    env: { ...process.env, FAKE_STEP_MS: "20" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  let sent = false;
  child.stderr.on("data", (data: Buffer) => {
    stderr += data.toString();
    if (!sent && stderr.includes("step 1/")) {
      sent = true;
      child.kill("SIGINT");
    }
  });
  expect(await new Promise((done) => child.on("close", done))).toBe(130);
  const [run] = runsIn(folder.path);
  expect(stderr).toContain(`continue with: mallard train --resume`);
  const last = metrics(folder.path, run!).at(-1)!;
  const again = await command(folder.path, ["train", "--resume", run!, "--steps", `${last.step + 2}`, "--json", "--sample", "0"]);
  expect(JSON.parse(again.stdout)).toMatchObject({ steps: last.step + 2, interrupted: false });
});
