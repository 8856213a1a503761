// What a test needs of the machine beyond Node. A missing thing skips the tests that need it, and a line says which and
// why; under MALLARD_REQUIRE=all nothing may be skipped, and it is an error instead.
//
//   describe.skipIf(!(await needs("compiler")))("…", () => { … });
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as E from "fp-ts/lib/Either.js";
import { findToolchain } from "../runtime/devices/native/toolchain.js";

export type Need = "compiler" | "gpu.js" | "dawn" | "golden" | "browser";
export const BROWSER = ["chromium", "chromium-browser", "google-chrome"].map((name) => `/usr/bin/${name}`).find((path) => existsSync(path));
/** Where the golden runs lie: beside the checkout. */
export const GOLDEN = fileURLToPath(new URL("../../shared/golden/", import.meta.url));

/** null: it is here; else why not. */
const PROBES: Record<Need, () => Promise<string | null>> = {
  compiler: async () => {
    const tool = await findToolchain();
    return E.isRight(tool) ? null : tool.left.message;
  },
  "gpu.js": () => imports("gpu.js"),
  dawn: () => imports("webgpu"),
  golden: async () => (existsSync(GOLDEN) ? null : `there is no ${GOLDEN}`),
  browser: async () => (BROWSER ? null : "there is no chromium in /usr/bin"),
};
async function imports(name: string): Promise<string | null> {
  try {
    await import(name);
    return null;
  } catch (e) {
    return `${name} cannot be imported: ${e instanceof Error ? e.message : String(e)}`;
  }
}

const known = new Map<Need, Promise<string | null>>();
export async function needs(...all: readonly Need[]): Promise<boolean> {
  let met = true;
  for (const need of all) {
    const probe = known.get(need) ?? PROBES[need]();
    const first = !known.has(need);
    known.set(need, probe);
    const reason = await probe;
    if (reason === null) continue;
    if (process.env.MALLARD_REQUIRE === "all") throw new Error(`MALLARD_REQUIRE=all, and ${need} is missing: ${reason}`);
    if (first) console.log(`skipped: what needs ${need} (${reason})`);
    met = false;
  }
  return met;
}
