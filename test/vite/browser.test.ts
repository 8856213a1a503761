// A page in a real browser: built by Vite with the plug-in, minified, it differentiates a variant of attention, compiles it and
// trains on it with the gpu.js device; and its numbers are those of the oracle here.
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { BROWSER, needs } from "../require.js";
import { temporary } from "../train/fixtures.js";
import { bundle, fixture } from "./bundle.js";
import { numbers } from "./fixtures/run.js";

describe.skipIf(!(await needs("browser", "gpu.js")))("in a browser", () => {
  test("a page has the oracle's numbers", async () => {
    using made = await bundle(fixture("run.ts"));
    const types: Readonly<Record<string, string>> = { html: "text/html", mjs: "text/javascript" };
    const html =
      '<!doctype html><pre id="out">nothing</pre><script type="module">const out = document.getElementById("out");\n' +
      'try { const m = await import("./main.mjs"); out.textContent = JSON.stringify(await m.numbers("gpujs")); } catch (e) { out.textContent = String(e.stack ?? e); }</script>';
    const server = createServer((request, response) => {
      const name = (request.url ?? "/").slice(1) || "index.html";
      const file = join(made.folder, name);
      if (name !== "index.html" && !existsSync(file)) return void response.writeHead(404).end();
      response.writeHead(200, { "content-type": types[name.split(".").at(-1) ?? ""] ?? "application/octet-stream" });
      response.end(name === "index.html" ? html : readFileSync(file));
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    try {
      const out = await dumped(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`); // it listens on a port
      const text = /<pre id="out">([\s\S]*?)<\/pre>/.exec(out)?.[1] ?? out;
      expect(text).toMatch(/^\[/);
      const got = JSON.parse(text) as readonly number[];
      const wanted = await numbers("js");
      expect(got).toHaveLength(wanted.length);
      for (const [i, w] of wanted.entries()) expect(Math.abs((got[i] as number) - w)).toBeLessThan(1e-5 * Math.max(1, Math.abs(w)));
    } finally {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  });
});

/** The page's document once it is idle. */
function dumped(url: string): Promise<string> {
  return new Promise((done, fail) => {
    const profile = temporary();
    const flags = [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--virtual-time-budget=60000",
      `--user-data-dir=${profile.path}`,
    ];
    const child = spawn(BROWSER as string, [...flags, "--dump-dom", url], { stdio: ["ignore", "pipe", "ignore"] });
    let text = "";
    child.stdout.on("data", (data: Buffer) => {
      text += data.toString();
    });
    child.on("error", fail);
    child.on("close", () => {
      profile[Symbol.dispose]();
      done(text);
    });
  });
}
