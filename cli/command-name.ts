// How the user starts this command, for hints that can be copied: `mallard` where it is installed, `npx mallard` in a
// project that has it as a package, `node dist/cli/main.js` in a checkout.
import { basename, dirname, relative, sep } from "node:path";

export function commandName(script = process.argv[1] ?? "", cwd = process.cwd()): string {
  if (basename(script) === "mallard") return basename(dirname(script)) === ".bin" ? "npx mallard" : "mallard";
  if (!/\.[cm]?js$/.test(script)) return "mallard";
  if (script.split(sep).includes("node_modules")) return "npx mallard";
  const path = relative(cwd, script);
  return `node ${path.startsWith("..") ? script : path}`;
}
