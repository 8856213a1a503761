import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { openRun } from "../../runtime/train/run-folder.js";
import { temporary, value } from "./fixtures.js";

const script = join(dirname(fileURLToPath(import.meta.url)), "interrupted-run.ts");
interface Running {
  readonly child: ChildProcess;
  /** Resolves when the process has written `text`. */
  until(text: string): Promise<void>;
  readonly ended: Promise<number | null>;
  readonly output: () => string;
}
function start(folder: string, stepMs: number): Running {
  const child = spawn(process.execPath, ["--import", "tsx", script, folder, `${stepMs}`], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  const waiting: (() => void)[] = [];
  child.stdout!.on("data", (data: Buffer) => {
    output += data.toString();
    for (const wake of waiting.splice(0)) wake();
  });
  const ended = new Promise<number | null>((done) => child.on("close", (code) => done(code)));
  return {
    child,
    ended,
    output: () => output,
    async until(text) {
      while (!output.includes(text)) await new Promise<void>((wake) => waiting.push(wake));
    },
  };
}

test.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)("%s ends the run after its step, with a checkpoint that can be read and exit code %i", async (signal, code) => {
  using folder = temporary();
  const run = start(folder.path, 20);
  await run.until("running");
  run.child.kill(signal);
  // The same key press may arrive a second time through npm; it is not a second request.
  run.child.kill(signal);
  expect(await run.ended).toBe(code);
  const outcome = JSON.parse(run.output().trimEnd().split("\n").at(-1)!);
  expect(outcome.interrupted).toBe(true);
  const name = readdirSync(folder.path)[0]!;
  const checkpoint = value(await value(await openRun(name, folder.path)).readCheckpoint());
  expect(checkpoint.step).toBe(outcome.steps);
  expect(readdirSync(join(folder.path, name)).sort()).toEqual(["checkpoint.safetensors", "config.json", "metrics.jsonl"]);
});

test("a second SIGINT quits at once", async () => {
  using folder = temporary();
  // A step that takes longer than this test may: only the second signal can end it.
  const slow = start(folder.path, 600_000);
  await slow.until(folder.path);
  slow.child.kill("SIGINT");
  await slow.until("stopping");
  await new Promise((done) => setTimeout(done, 400));
  slow.child.kill("SIGINT");
  expect(await slow.ended).toBe(130);
});
