// `mallard profile`: kernels by the author's expressions, their work by threads, and what is refused.
import { beforeAll, describe, expect, test } from "vitest";
import { needs } from "../require.js";
import { temporary } from "../train/fixtures.js";
import { project } from "./author.js";
import { built, mallard } from "./mallard.js";

beforeAll(built);

describe.runIf(await needs("compiler"))("on the native device", () => {
  test("an expression and its gradients, each kernel by line and text of the author's, with its share of the machine's limits", async () => {
    using folder = temporary();
    project(folder.path);
    const args = ["profile", "variants.ts#causal", "--gradient", "--runs", "1", "--threads", "2"];
    const { code, stdout } = await mallard([...args, "--json"], { cwd: folder.path });
    expect(code, stdout).toBe(0);
    const p = JSON.parse(stdout);
    expect([p.what, p.threads, p.runs >= 1]).toEqual(["variants.ts#causal", 2, true]);
    for (const key of ["gflops", "memory", "cache"]) expect(p.roofs[key]).toBeGreaterThan(0);
    interface Shown {
      readonly source: { readonly place: { readonly file: string; readonly line: number }; readonly text: string; readonly half: string };
      readonly bound: string;
      readonly share: number;
    }
    const kernels: readonly Shown[] = p.kernels;
    const forward = kernels.filter((k) => k.source.half === "forward");
    expect(forward.length).toBe(1);
    expect(kernels.length).toBeGreaterThan(1);
    for (const k of kernels) {
      expect(k.source.place.file).toMatch(/variants\.ts$/);
      expect(k.source.text).toMatch(/^(dot|softmax|map|scale)\(.*\)$/);
      expect(["compute", "memory"]).toContain(k.bound);
      expect(k.share).toBeGreaterThan(0);
    }
    expect(forward[0]?.source).toMatchObject({ place: { line: 8 } });
  });
  test("a training step's work by threads, without running it", async () => {
    const { code, stdout } = await mallard(["profile", "micro", "--scaling", "--top", "2"]);
    expect(code, stdout).toBe(0);
    expect(stdout).toMatch(/^micro: \d+ barriers a run, \d+ kernels; .*nothing was run\n/);
    expect(stdout).toMatch(/\n +1 +1\.00 +100 % +1\.000 +0\.0 %\n +2 +[12]\.\d\d /);
    expect(stdout).toMatch(/and \d+ more: --top 0 shows all/);
  });
  test("a model's step: forward, backward and update, by names of the model's file", async () => {
    const { code, stdout } = await mallard(["profile", "micro", "--runs", "1", "--threads", "1", "--top", "0"]);
    expect(code, stdout).toBe(0);
    expect(stdout).toMatch(/^micro on 1 thread: [\d.]+ ms at best/);
    expect(stdout).toMatch(/forward +blocks\.ts:\d+ .*dot\(/);
    expect(stdout).toMatch(/backward +blocks\.ts:\d+ .*dot\(/);
    expect(stdout).toMatch(/update +update of blocks\.\*\.attention\.w/);
  });
});

describe("wrong requests say what would be right and end with 2", () => {
  test.each([
    [["mikro"], 'there is no model "mikro" (did you mean "micro"?)'],
    [["micro", "--gradient"], "--gradient is for an expression in a file"],
    [["a.ts#b", "--optimizer", "lion"], "--optimizer is for a model"],
    [["nothere.ts#b"], "there is no file"],
    [["micro", "--attention", "mla", "--intervention", "qk-norm"], "qk-norm is not there for latent attention"],
    [["micro", "--threads", "0"], "from 1 to 1024"],
  ])("%s", async (args, says) => {
    const { code, stdout, stderr } = await mallard(["profile", ...args]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(says);
  });
});
