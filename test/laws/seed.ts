// The seed of a run of the laws, printed so that a failure can be run again; and how many random programs. Unless it is
// given, the seed follows from the sources under test: every change draws new programs, and the same commit the same ones,
// so that a red run stays red until its cause is mended. MALLARD_LAWS_SEED=random draws anew each time.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
function ofSources(): number {
  const hash = createHash("sha256");
  for (const folder of ["dsl", "compiler", "runtime"])
    for (const file of readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).sort())
      if (file.endsWith(".ts")) hash.update(readFileSync(join(root, folder, file)));
  return hash.digest().readUInt32LE(0) % 1_000_000;
}
const given = process.env.MALLARD_LAWS_SEED;
export const seed = given === undefined ? ofSources() : given === "random" ? Math.floor(Math.random() * 1e6) : Number(given);
export const runs = Math.max(1, Math.round(500 * Number(process.env.MALLARD_LAWS_RUNS ?? 1)));
console.log(`laws: MALLARD_LAWS_SEED=${seed}`);
