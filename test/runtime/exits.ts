// A process that makes a native device and ends in the way its second argument names.
import { buffer } from "../../compiler/lower/expr.js";
import { device, plan } from "./native-fixture.js";

const [cacheDir, how] = process.argv.slice(2);
const d = await device({ cacheDir, threads: 3 });
const out = buffer("out", "f32", [], "output");
const program = await d.compile(
  plan(
    { buffers: [out], outputs: { out } },
    "for (volatile int64_t i = 0; i < 300000000; i++); barrier(arg); if (tid == 0) *(float *)buffers[0] = (float)nthreads;",
  ),
);
const state = await d.alloc([]);
const run = program.run(state, {}, new Map());
if (how === "idle" || how === "disposed" || how === "thrown") await run;
if (how === "disposed") d[Symbol.dispose]();
console.log("ready");
if (how === "thrown") throw new Error("as asked");
if (how === "exit in flight") process.exit(3);
