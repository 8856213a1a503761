// `npm run bench`: installs what is missing, builds, and compares Mallard's speed with other systems' on this machine.
// Arguments after `--` go to the benchmark:
//
//   npm run bench -- gemm --pairs 9
//   npm run bench -- --help
import { spawn } from "node:child_process";
import { join } from "node:path";
import { captures, node, prepare, root } from "./prepare.js";

if (!prepare()) process.exit(1);
// Beside dist and not in it: the package that is published has no benchmarks.
if (node(["node_modules/typescript/bin/tsc", "-p", "bench/tsconfig.json"], ["ignore", 2, 2]) !== 0) {
  process.stderr.write("The benchmarks do not build: see the compiler's messages above.\n");
  process.exit(1);
}
if (!captures(".mallard/bench")) process.exit(1);
const child = spawn(process.execPath, [join(root, ".mallard/bench/bench/main.js"), ...process.argv.slice(2)], { stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("error", (error) => {
  process.stderr.write(`${process.execPath} cannot be run: ${error.message}\n`);
  process.exit(1);
});
child.on("exit", (code) => process.exit(code ?? 1));
