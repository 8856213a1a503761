// Chromium without a window, and pages in it from a server of this process: a page holds one system, and is asked to run it.
import { existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { join, normalize, sep } from "node:path";
import { chromium, type Page } from "playwright-core";
import { build, type Rolldown } from "vite";
import { mallard } from "../vite/index.js";
import type { Contestant } from "./contestant.js";
import { ROOT } from "./peers.js";

const BROWSERS = ["chromium", "chromium-browser", "google-chrome"].map((name) => `/usr/bin/${name}`);
/** SwiftShader, a Vulkan driver that computes on the processor, is part of Chromium; pages get it only if that is asked for. It
 *  clears workgroup memory in code, word by word in every invocation, which no GPU does: for all systems alike it is left as it is. */
/** A processor that others use too may need longer for a dispatch than the watchdog grants a GPU. */
const PATIENT = ["--disable-gpu-watchdog"];
const FLAGS = {
  software: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-dawn-features=disable_workgroup_init"],
  system: ["--enable-unsafe-webgpu", "--enable-features=Vulkan"],
};
export type Adapter = keyof typeof FLAGS;

export type Data = Readonly<Record<string, Float32Array | Int32Array>>;
export interface Task {
  readonly what: "attention" | "step";
  readonly sizes: Readonly<Record<string, number>>;
  readonly data: Data;
}
/** Steps whose losses are compared. */
const LOSSES = 3;

export interface Counts {
  readonly dispatches: number;
  readonly submits: number;
  readonly copies: number;
  /** Of buffers that existed at once during a run. */
  readonly peakBytes: number;
}
export interface System extends Contestant {
  readonly parameters: number;
  /** Opening it and its first run, in which kernels compile. */
  readonly firstMs: number;
  counts(): Promise<Counts>;
  /** Of the first steps. */
  readonly losses: readonly number[];
  /** Of the first run. */
  readonly arrays: Readonly<Record<string, Float32Array>>;
}

/** Ours as one module, from the sources. */
export async function bundled(): Promise<string> {
  const built = await build({
    root: ROOT,
    configFile: false,
    logLevel: "error",
    plugins: [mallard()],
    build: {
      write: false,
      target: "es2023",
      rolldownOptions: {
        input: join(ROOT, "bench/browser-ours.ts"),
        preserveEntrySignatures: "strict",
        output: { codeSplitting: false, entryFileNames: "ours.js" },
      },
    },
  });
  const outputs = [built].flat().flatMap((b) => ("output" in b ? b.output : []));
  const entry = outputs.find((f): f is Rolldown.OutputChunk => f.type === "chunk" && f.isEntry);
  if (!entry || outputs.length !== 1) throw new Error(`one module was expected of Vite: ${outputs.map((f) => f.fileName).join(", ")}`);
  return entry.code;
}

/** page.js by the name that `ask` calls it by. */
const PAGE = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>Benchmark</title>
<script type="module">import * as page from "/page/page.js"; globalThis.bench = page;</script>`;
type Bench = Readonly<Record<string, (...args: readonly unknown[]) => unknown>>;
const ask = (page: Page, name: string, ...args: readonly unknown[]): Promise<unknown> =>
  // The page's global object is not this process's.
  page.evaluate(({ name, args }) => (globalThis as unknown as { readonly bench: Bench }).bench[name]?.(...args), { name, args });

const TYPES: Readonly<Record<string, string>> = { ".js": "text/javascript", ".mjs": "text/javascript", ".html": "text/html" };
export class Pages {
  #data: Data = {};
  private constructor(
    readonly server: Server,
    readonly browser: Awaited<ReturnType<typeof chromium.launch>>,
    /** Of the adapter and the browser. */
    readonly about: string,
    readonly ours: string,
    readonly peers: string | null,
  ) {}

  /** `peers`: a folder with node_modules; null: none. Throws where there is no browser or no adapter. */
  static async open(o: { readonly adapter: Adapter; readonly ours: string; readonly peers: string | null }): Promise<Pages> {
    const executablePath = BROWSERS.find((path) => existsSync(path));
    if (executablePath === undefined) throw new Error(`there is no Chromium: ${BROWSERS.join(", ")} were looked for`);
    const pages: { all?: Pages } = {};
    const server = createServer(({ url }, response) => {
      const found = pages.all?.file(new URL(url ?? "/", "http://localhost").pathname);
      response.writeHead(found ? 200 : 404, found ? { "content-type": found.type } : {}).end(found?.bytes);
    });
    await new Promise<void>((resolve) => server.listen(0, "localhost", resolve));
    const browser = await chromium.launch({ executablePath, headless: true, chromiumSandbox: false, args: [...PATIENT, ...FLAGS[o.adapter]] });
    try {
      pages.all = new Pages(server, browser, "", o.ours, o.peers);
      using page = await pages.all.page();
      const adapter = await ask(page.page, "adapter");
      if (typeof adapter !== "string") throw new Error(`Chromium ${browser.version()} gives no WebGPU adapter with ${FLAGS[o.adapter].join(" ")}`);
      pages.all = new Pages(server, browser, `Chromium ${browser.version()}, adapter ${adapter}`, o.ours, o.peers);
      return pages.all;
    } catch (e) {
      await browser.close();
      server.close();
      throw e;
    }
  }
  async close(): Promise<void> {
    await this.browser.close();
    this.server.close();
  }

  file(path: string): { readonly type: string; readonly bytes: Buffer | string } | null {
    if (path === "/") return { type: "text/html", bytes: PAGE };
    if (path === "/ours.js") return { type: "text/javascript", bytes: this.ours };
    const array = path.startsWith("/data/") ? this.#data[path.slice(6)] : undefined;
    if (array) return { type: "application/octet-stream", bytes: Buffer.from(array.buffer, array.byteOffset, array.byteLength) };
    const under = (prefix: string, folder: string | null) =>
      folder !== null && path.startsWith(prefix) ? { folder, rest: path.slice(prefix.length) } : null;
    const place = under("/peers/", this.peers) ?? under("/page/", join(ROOT, "bench/peers/browser"));
    if (!place) return null;
    const file = normalize(join(place.folder, place.rest));
    const type = TYPES[/\.\w+$/.exec(file)?.[0] ?? ""];
    return file.startsWith(normalize(place.folder + sep)) && type && existsSync(file) ? { type, bytes: readFileSync(file) } : null;
  }
  async page(): Promise<{ readonly page: Page; readonly errors: readonly string[]; [Symbol.dispose](): void }> {
    const page = await this.browser.newPage();
    const errors: string[] = [];
    page.on("pageerror", (e) => errors.push(e.message));
    page.on("console", (m) => (m.type() === "error" ? errors.push(m.text()) : undefined));
    await page.goto(`http://localhost:${portOf(this.server)}/`);
    return { page, errors, [Symbol.dispose]: () => void page.close().catch(() => undefined) };
  }

  /** A page of its own with a system that has run once. `module` as the server has it; `form`: which way of its own to write it. */
  async system(name: string, module: string, task: Task, form: string | null): Promise<System> {
    this.#data = task.data;
    const { page, errors, ...opened } = await this.page();
    const fault = (e: unknown) => new Error([e instanceof Error ? e.message : String(e), ...errors].join("; "));
    try {
      const arrays = Object.fromEntries(Object.entries(task.data).map(([k, a]) => [k, a instanceof Int32Array ? "i32" : "f32"]));
      const about = await ask(page, "open", module, task.what, task.sizes, arrays, form);
      const start = performance.now();
      const result = await ask(page, "result");
      const firstMs = performance.now() - start;
      const losses = typeof result === "number" ? [result] : [];
      while (losses.length > 0 && losses.length < LOSSES) losses.push(Number(await ask(page, "result")));
      if (!isRecord(about)) throw new Error("the page does not answer");
      return {
        name,
        detail: form ?? "",
        parameters: Number(about.parameters),
        firstMs: Number(about.ms) + firstMs,
        losses,
        arrays: isRecord(result) ? Object.fromEntries(Object.entries(result).map(([k, text]) => [k, floats(String(text))])) : {},
        slice: async (_, seconds) => {
          await page.bringToFront();
          const times = await ask(page, "slice", seconds);
          if (!Array.isArray(times) || errors.length > 0) throw fault(`${name}: the page does not answer`);
          return times.map(Number);
        },
        counts: async () => {
          const found = await ask(page, "counts");
          if (!isRecord(found)) throw fault(`${name}: the page does not answer`);
          return {
            dispatches: Number(found.dispatches),
            submits: Number(found.submits),
            copies: Number(found.copies),
            peakBytes: Number(found.peakBytes),
          };
        },
        close: () => opened[Symbol.dispose](),
      };
    } catch (e) {
      opened[Symbol.dispose]();
      throw fault(e);
    }
  }
}
const isRecord = (x: unknown): x is Readonly<Record<string, unknown>> => typeof x === "object" && x !== null;
const floats = (base64: string): Float32Array => {
  const bytes = Buffer.from(base64, "base64");
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
};
const portOf = (server: Server): number => {
  const at = server.address();
  return typeof at === "object" && at !== null ? at.port : 0;
};
