// A build brings the syntax of the library's own functions with it: a first start reads none of them, and means the same by them.
import { createHash } from "node:crypto";
import { join } from "node:path";
import { isLeft } from "fp-ts/lib/Either.js";
import { beforeAll, expect, test } from "vitest";
import { crossEntropy, grad, input, kernelsOf, mean } from "../../index.js";
import { transformer } from "../../models/index.js";
import { temporary } from "../train/fixtures.js";
import { built, root, runNode } from "./mallard.js";

const digestOf = (sources: readonly string[]) => createHash("sha256").update(sources.join("\n")).digest("hex");
const sizes = { model: 16, layer: 2, head: 2, dim: 8, ff: 32, vocab: 19 };
const CHILD = `
const { createHash } = await import("node:crypto");
const { crossEntropy, grad, input, kernelsOf, mean } = await import("./dist/index.js");
const { transformer } = await import("./dist/models/index.js");
const { parserLoads } = await import("./dist/compiler/capture/parse.js");
const tokens = input({ batch: 2, time: 8 }, "i32"), next = input({ batch: 2, time: 8 }, "i32");
const decoder = transformer(${JSON.stringify(sizes)});
const loss = mean(crossEntropy(decoder.bound({ tokens }), next, "vocab"), "batch", "time");
const kernels = kernelsOf({ tokens, next }, { loss, g: grad(loss, decoder.params) }, "c").right.kernels.map((k) => k.source);
console.log(JSON.stringify({ loads: parserLoads(), kernels: createHash("sha256").update(kernels.join("\\n")).digest("hex") }));
`;

beforeAll(built, 120_000);
test("a first start of the built library loads no parser, and prints the kernels that one who parses prints", async () => {
  using cache = temporary();
  const ran = await runNode(["--input-type=module", "-e", CHILD], { cwd: root, env: { MALLARD_CACHE: join(cache.path, "cache") } });
  expect(ran.stderr).toBe("");
  const tokens = input({ batch: 2, time: 8 }, "i32");
  const next = input({ batch: 2, time: 8 }, "i32");
  const decoder = transformer(sizes);
  const loss = mean(crossEntropy(decoder.bound({ tokens }), next, "vocab"), "batch", "time");
  const here = kernelsOf({ tokens, next }, { loss, g: grad(loss, decoder.params) }, "c");
  if (isLeft(here)) throw new Error(here.left.message);
  expect(JSON.parse(ran.stdout)).toEqual({ loads: 0, kernels: digestOf(here.right.kernels.map((k) => k.source)) });
}, 60_000);
