// `npm start`: installs what is missing, builds, and trains the byte model. Arguments after `--` go to `mallard train`:
//
//   npm start -- --steps 50 --intervention quack
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { join } from "node:path";
import { prepare, root } from "./prepare.js";

if (!prepare()) process.exit(1);
const child = spawn(process.execPath, [join(root, "dist/cli/main.js"), "train", ...process.argv.slice(2)], { stdio: "inherit" });
// Ctrl-C reaches the whole foreground group; the trainer ends the run and this process waits for it. A signal sent to
// this process alone is passed on (the trainer takes two in quick succession for one).
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
// npm starts this through a shell, and passes a signal that npm alone gets on to that shell, which ends without a word.
// Without npm above nobody waits for the run any more.
const parent = process.ppid;
if (process.env.npm_lifecycle_event !== undefined) {
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    child.kill("SIGTERM");
  }, 500);
  watch.unref();
}
child.on("error", (error) => {
  process.stderr.write(`${process.execPath} cannot be run: ${error.message}\n`);
  process.exit(1);
});
child.on("exit", (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 1)));
