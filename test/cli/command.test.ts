import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { runConfig, temporary } from "../train/fixtures.js";
import { built, mallard, type Ran } from "./mallard.js";

beforeAll(built);
const said = ({ stderr }: Ran, folder = "\0"): string => stderr.replaceAll(folder, "DIR").trimEnd();

describe("help", () => {
  test.each([[], ["train"], ["generate"], ["check"], ["kernels"], ["explain"], ["profile"], ["variants"], ["doctor"]])(
    "mallard %s --help",
    async (...command) => {
      const { code, stdout, stderr } = await mallard([...command.filter((c) => typeof c === "string"), "--help"]);
      expect([code, stderr]).toEqual([0, ""]);
      expect(stdout).toMatchSnapshot();
      if (command.length > 0) expect(stdout).toContain("Examples:");
    },
  );
  test("without a command it prints help on stderr and ends with 2; --version is the package's", async () => {
    const none = await mallard([]);
    expect([none.code, none.stdout]).toEqual([2, ""]);
    expect(none.stderr).toContain("Usage: mallard");
    expect((await mallard(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("wrong requests say what would be right and end with 2", () => {
  const wrong: readonly (readonly string[])[] = [
    ["trian"],
    ["train", "--stpes", "5"],
    ["train", "--steps", "abc"],
    ["train", "--steps", "0"],
    ["train", "--steps", "1.5"],
    ["train", "--lr", "-1"],
    ["train", "--lr", "fast"],
    ["train", "--clip", "-2"],
    ["train", "--device", "natve"],
    ["train", "--optimizer", "adam"],
    ["train", "--intervention", "quak"],
    ["train", "--model", "tinny"],
    ["train", "--model", "constructor"],
    ["train", "--name", "../up"],
    ["train", "--tau", "0.1", "--intervention", "none"],
    ["train", "--tau", "0"],
    ["train", "--norm", "spectral", "--intervention", "fixed"],
    ["train", "--limit", "30"],
    ["train", "--attention", "mqa"],
    ["train", "--attention", "mla", "--intervention", "qk-norm"],
    ["train", "--schedule", "linear"],
    ["train", "--cooldown", "5"],
    ["train", "--schedule", "wsd", "--steps", "10", "--warmup", "8", "--cooldown", "5"],
    ["train", "--adamw-lr", "1e-3"],
    ["train", "--optimizer", "sgd", "--bounds"],
    ["train", "--bounds", "--probe-every", "0"],
    ["train", "--out", "attention.ts/runs"],
    ["train", "extra"],
    ["train", "--steps"],
    ["train", "--data", "missing.txt"],
    ["train", "--resume", "missing"],
    ["generate"],
    ["generate", "--run", "missing"],
    ["generate", "--run", "x", "--top-k", "300"],
    ["kernels"],
    ["kernels", "attention.ts"],
    ["kernels", "missing.ts#causal"],
    ["kernels", "attention.ts#", "--target", "c"],
    ["kernels", "attention.ts#causl"],
    ["kernels", "attention.ts#fn"],
    ["kernels", "attention.ts#number"],
    ["kernels", "attention.ts#causal", "--target", "wsgl"],
    ["kernels", "attention.ts#causal", "--inputs", "q=query"],
    ["kernels", "attention.ts#causal", "--inputs", "qq=query:3"],
    ["kernels", "attention.ts#record", "--inputs", "q=query:3"],
    ["train", "--adapter", "software"],
    ["profile", "--adapter", "software"],
    ["profile", "--scaling", "--device", "webgpu"],
    ["doctor", "--jsn"],
  ];
  test.concurrent.for(wrong.map((args) => [args.join(" "), args] as const))("mallard %s", async ([_, args], { expect }) => {
    using folder = temporary();
    writeFileSync(
      join(folder.path, "attention.ts"),
      `const number: number = 3;
const fn = (n: number): number => n;
const causal = Object.assign((x: unknown) => x, { inputs: { q: "query dim" } });
const record = { inputs: {}, out: null };
export { causal, fn, number, record };`,
    );
    const ran = await mallard(args, { cwd: folder.path });
    expect([ran.code, ran.stdout]).toEqual([2, ""]);
    expect(said(ran, folder.path)).toMatchSnapshot();
    expect(existsSync(join(folder.path, "runs"))).toBe(false);
  });
});

describe("--json", () => {
  test.each([
    [["train", "--model", "tinny", "--json"], 2],
    [["train", "--data", "missing.txt", "--json"], 2],
    [["generate", "--run", "missing", "--json"], 2],
    [["kernels", "missing.ts#x", "--json"], 2],
  ] as const)("an error is one JSON value on stdout: %s", async (args, code) => {
    using folder = temporary();
    const ran = await mallard(args, { cwd: folder.path });
    expect(ran.code).toBe(code);
    const { error } = JSON.parse(ran.stdout);
    expect(Object.keys(error)).toEqual(["kind", "message", "hint"]);
    expect(error.kind).toBe("usage");
    expect(ran.stderr).toContain(error.message);
  });
  test("doctor's findings are one JSON value, with nothing beside it", async () => {
    const ran = await mallard(["doctor", "--json"]);
    const found = JSON.parse(ran.stdout);
    expect(ran.stderr).toBe("");
    expect(found.devices.map((d: { name: string }) => d.name)).toEqual(["native", "webgpu", "gpujs", "js"]);
    expect(found.ok).toBe(ran.code === 0);
  });
});

describe("doctor", () => {
  test("without a C compiler it says why the native device does not work, and what to do", async () => {
    const ran = await mallard(["doctor"], { env: { CC: "/nowhere/cc" } });
    expect(ran.stdout).toMatch(/✗ native .*\/nowhere\/cc/);
    expect(ran.stdout).toMatch(/apt install gcc/);
    expect(ran.stdout).toMatch(/✓ gpujs/);
    expect(ran.code).toBe(0);
  });
  test("a compiler that makes nothing is found out by compiling", async () => {
    using folder = temporary();
    const cc = join(folder.path, "cc");
    // Answers like the real one, but refuses to link or compile a file.
    writeFileSync(cc, '#!/bin/sh\ncase "$*" in *tiny.c*) echo "tiny.c: fatal error: math.h: No such file" >&2; exit 1;; esac\nexec cc "$@"\n', {
      mode: 0o755,
    });
    const ran = await mallard(["doctor", "--json"], { env: { CC: cc } });
    const checks: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[] = JSON.parse(ran.stdout).checks;
    const compiler = checks.find((c) => c.name === "C compiler")!;
    expect(compiler.ok).toBe(false);
    if (process.env.CC !== undefined || existsSync("/usr/bin/cc")) expect(compiler.detail).toMatch(/compiles nothing: tiny.c: fatal error: math.h/);
  });
});

describe("a run's folder", () => {
  const withRun = (folder: string, change: object): void => {
    writeFileSync(join(folder, "config.json"), JSON.stringify({ ...runConfig, ...change }));
  };
  test("with a damaged configuration is refused, naming the field", async () => {
    using folder = temporary();
    withRun(folder.path, { model: { ...runConfig.model, head: "four" } });
    const ran = await mallard(["generate", "--run", "."], { cwd: folder.path });
    expect(ran.code).toBe(1);
    expect(said(ran)).toContain('"model.head" is "four" and should be a whole number of at least 1');
  });
  test("without a checkpoint cannot be continued or generated from", async () => {
    using folder = temporary();
    withRun(folder.path, {});
    for (const args of [
      ["generate", "--run", "."],
      ["train", "--resume", "."],
    ]) {
      const ran = await mallard(args, { cwd: folder.path });
      expect([ran.code, said(ran, folder.path)]).toEqual([1, expect.stringContaining("DIR has no checkpoint")]);
    }
  });
  test("keeps what it was started with", async () => {
    using folder = temporary();
    withRun(folder.path, {});
    const ran = await mallard(["train", "--resume", ".", "--lr", "1"], { cwd: folder.path });
    expect([ran.code, said(ran)]).toEqual([2, expect.stringContaining("--lr cannot change in a resumed run")]);
  });
});
