// The page in a real Chromium: built as users build it, it trains on WebGPU and, on a machine without, on gpu.js. What is looked
// at is what a visitor sees: the loss falls, plots and heat map have drawn pixels, every kernel has its text, the page answers while
// it trains, nothing complains, nothing is asked of another host, and a second visit needs no network. Both devices take the
// same steps. Pictures of both pages lie in .mallard/artefacts afterwards, or where MALLARD_ARTEFACTS says.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { build, type PreviewServer, preview } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { launch } from "../chromium/browser.js";
import { needs } from "../require.js";
import { temporary } from "../train/fixtures.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const configFile = join(root, "examples/browser/vite.config.ts");
const artefacts = process.env.MALLARD_ARTEFACTS ?? join(root, ".mallard/artefacts");
/** A step of a few bytes: it takes its time on a GPU that is a processor. MALLARD_NIGHTLY=1 trains micro as it is. */
const SMALL = "batch=2&time=16&layer=1&probeEvery=10";
const SIZE = process.env.MALLARD_NIGHTLY === "1" ? "probeEvery=5" : SMALL;
const STEPS = 20;
const PATIENCE = process.env.MALLARD_NIGHTLY === "1" ? 1_800_000 : 240_000;

interface Seen {
  readonly step: number;
  readonly loss: number;
}
/** A page, and whatever on it should not have happened. */
interface Visit {
  readonly page: Page;
  readonly complaints: string[];
}

async function visit(context: BrowserContext, url: string): Promise<Visit> {
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (m) => {
    if (m.type() === "error" || m.type() === "warning") complaints.push(m.text());
  });
  page.on("pageerror", (e) => complaints.push(e.message));
  page.on("requestfailed", (r) => complaints.push(`${r.url()} failed`));
  page.on("request", (r) => {
    if (!r.url().startsWith(new URL(url).origin)) complaints.push(`${r.url()} was asked for`);
  });
  await page.goto(url);
  await become(page, "idle");
  return { page, complaints };
}
async function become(page: Page, state: string): Promise<void> {
  await page.waitForFunction((wanted) => document.body.dataset.state === wanted || document.getElementById("problem")?.hidden === false, state, {
    timeout: PATIENCE,
  });
  const problem = page.locator("#problem");
  if (await problem.isVisible()) throw new Error((await problem.textContent()) ?? "");
}

/** Presses the button and waits for the end: every step's loss, as the page showed it. */
async function trained(page: Page): Promise<readonly Seen[]> {
  await page.evaluate(() => {
    const shown: { step: number; loss: number }[] = [];
    const number = (id: string) => Number(document.getElementById(id)?.textContent);
    new MutationObserver(() => shown.push({ step: number("tile-step"), loss: number("tile-loss") })).observe(
      document.getElementById("tile-step") as HTMLElement,
      { childList: true },
    );
    Object.assign(globalThis, { shown });
  });
  await page.click("#train");
  await become(page, "training");
  await become(page, "idle");
  const all = await page.evaluate(() => (globalThis as unknown as { shown: readonly Seen[] }).shown); // as put there above
  return all.filter((s) => s.step > 0 && Number.isFinite(s.loss));
}

/** How many pixels of a canvas are of each colour, transparent ones apart. */
const colours = (page: Page, canvas: string): Promise<Readonly<Record<string, number>>> =>
  page.evaluate((selector) => {
    const found = document.querySelector(selector);
    if (!(found instanceof HTMLCanvasElement)) throw new Error(`${selector} is no canvas`);
    const { data } = (found.getContext("2d") as CanvasRenderingContext2D).getImageData(0, 0, found.width, found.height);
    const counts: Record<string, number> = {};
    for (let i = 0; i < data.length; i += 4) {
      if (data[i + 3] !== 255) continue;
      const colour = `rgb(${data[i]}, ${data[i + 1]}, ${data[i + 2]})`;
      counts[colour] = (counts[colour] ?? 0) + 1;
    }
    return counts;
  }, canvas);
/** Colours of a plot's lines, from its legend. */
const lineColours = (page: Page, plot: string): Promise<readonly string[]> =>
  page.evaluate(
    (selector) =>
      [...document.querySelectorAll<HTMLElement>(`${selector} .u-marker`)].map((m) => getComputedStyle(m).borderTopColor).filter((c) => c !== ""),
    plot,
  );

async function looksRight(page: Page): Promise<void> {
  // Training's loss is a line over the plot's width; of ΔL three lines.
  for (const [plot, lines] of [
    ["#loss-plot", 1],
    ["#delta-plot", 3],
  ] as const) {
    const drawn = await colours(page, `${plot} canvas`);
    const own = (await lineColours(page, plot)).filter((c) => (drawn[c] ?? 0) > 40);
    expect([plot, own.length >= lines]).toEqual([plot, true]);
  }
  // The map: a triangle of many shades, one small one a head.
  const shades = Object.entries(await colours(page, "#map")).filter(([, n]) => n > 20);
  expect(shades.length).toBeGreaterThan(8);
  expect(await page.locator("#heads canvas").count()).toBe(
    await page.evaluate(() => 4 * Number(document.querySelector<HTMLInputElement>("[name=layer]")?.value)),
  );
  const row = await page.evaluate(() => {
    const canvas = document.querySelector("#heads canvas") as HTMLCanvasElement;
    const { data } = (canvas.getContext("2d") as CanvasRenderingContext2D).getImageData(0, 0, canvas.width, canvas.height);
    const at = (query: number, key: number) => data[4 * (query * canvas.width + key)] as number;
    const last = canvas.width - 1;
    return { first: at(0, 0), ahead: at(0, last), behind: at(last, 0) };
  });
  expect(row.first).toBeLessThan(row.behind); // the first byte has itself alone, the last one shares its row
  expect(row.behind).toBeLessThan(row.ahead); // nothing is taken of what comes later
  // Every kernel of the step has its text.
  expect(await page.locator("#kernel-list li").count()).toBeGreaterThan(20);
  await page.locator("#kernel-list button").nth(3).click();
  expect(await page.locator("#kernel-source").textContent()).toContain("@compute @workgroup_size");
  expect(await page.locator("#tile-delta").textContent()).toMatch(/^\d/);
}
async function picture(page: Page, name: string): Promise<void> {
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: join(artefacts, name), fullPage: true });
}
function fell(all: readonly Seen[]): void {
  expect(all.map((s) => s.step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
  const mean = (of: readonly Seen[]) => of.reduce((n, s) => n + s.loss, 0) / of.length;
  expect(all[0]?.loss).toBeGreaterThan(5); // it knows nothing: ln 256 is 5.55
  expect(mean(all.slice(-5))).toBeLessThan(mean(all.slice(0, 5)) - 0.5);
}

describe.skipIf(!(await needs("browser", "gpu.js")))("the page", () => {
  const folder = temporary();
  const losses = new Map<string, readonly Seen[]>();
  let server: PreviewServer;
  let url: string;
  beforeAll(async () => {
    mkdirSync(artefacts, { recursive: true });
    await build({ configFile, logLevel: "silent", build: { outDir: folder.path } });
    server = await preview({ configFile, logLevel: "silent", build: { outDir: folder.path }, preview: { host: "127.0.0.1", port: 0 } });
    url = server.resolvedUrls?.local[0] as string; // it listens
  });
  afterAll(async () => {
    await server?.close();
    folder[Symbol.dispose]();
  });

  async function inBrowser(webgpu: boolean, run: (context: BrowserContext) => Promise<void>): Promise<void> {
    let browser: Browser | undefined;
    try {
      browser = await launch({ webgpu });
      await run(await browser.newContext({ viewport: { width: 1440, height: 1000 }, colorScheme: "light" }));
    } finally {
      await browser?.close();
    }
  }

  test("trains on WebGPU, draws what it measures, and stops when asked", { timeout: 2 * PATIENCE }, () =>
    inBrowser(true, async (context) => {
      const { page, complaints } = await visit(context, `${url}?${SIZE}&steps=${STEPS}`);
      expect(await page.locator("#device-line").textContent()).toBe("Runs on WebGPU.");
      const all = await trained(page);
      losses.set("webgpu", all);
      fell(all);
      await looksRight(page);
      await picture(page, "page-webgpu.png");
      // It goes on, and is asked to end while it trains.
      await page.fill("[name=steps]", "100000");
      await page.locator("[name=steps]").blur();
      expect(await page.locator("#tile-step").textContent()).toBe(String(STEPS));
      await page.click("#train");
      await page.waitForFunction((n) => Number(document.getElementById("tile-step")?.textContent) > n, STEPS, { timeout: PATIENCE });
      await page.click("#train");
      await become(page, "idle");
      expect(Number(await page.locator("#tile-step").textContent())).toBeLessThan(100_000);
      expect(complaints).toEqual([]);
    }),
  );
  test("without WebGPU it says so and trains on gpu.js, by the same steps; then it needs no network", { timeout: 2 * PATIENCE }, () =>
    inBrowser(false, async (context) => {
      const { page, complaints } = await visit(context, `${url}?${SIZE}&steps=${STEPS}`);
      expect(await page.locator("#device-line").textContent()).toMatch(/^There is no WebGPU here, so this page runs on gpu\.js/);
      const all = await trained(page);
      fell(all);
      await looksRight(page);
      await picture(page, "page-gpujs.png");
      for (const [i, s] of (losses.get("webgpu") ?? []).entries())
        expect([s.step, Math.abs(s.loss - (all[i]?.loss ?? 0)) < 2e-3]).toEqual([s.step, true]);

      await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
      await context.setOffline(true);
      await page.reload();
      await become(page, "idle");
      await page.selectOption("#kernels-of", "window");
      await page.waitForFunction(() => document.querySelectorAll("#kernel-list li").length > 1, null, { timeout: PATIENCE });
      expect(await page.locator("#kernel-source").textContent()).toContain("@compute");
      expect(complaints).toEqual([]);
    }),
  );
});
