// Chromium without a window, as the tests start it.
import { type Browser, chromium } from "playwright-core";
import { BROWSER } from "../require.js";

/** WebGPU's adapter is SwiftShader, a Vulkan driver that computes on the processor: it is part of Chromium, and not given to
 *  pages unless asked for. WebGL 2 falls back to it unasked. Its compiler takes seconds for the stores that make workgroup
 *  memory zero, one an element, and no kernel of ours needs them (test/wgsl/simulate.ts). */
const SOFTWARE = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-dawn-features=disable_workgroup_init"];
/** A processor shared by tests may need longer for a dispatch than the watchdog grants a GPU. */
const PATIENT = ["--disable-gpu-watchdog"];

/** `webgpu: false`: a machine without an adapter. */
export async function launch({ webgpu }: { readonly webgpu: boolean }): Promise<Browser> {
  if (!BROWSER) throw new Error("there is no chromium in /usr/bin");
  return chromium.launch({ executablePath: BROWSER, headless: true, chromiumSandbox: false, args: [...PATIENT, ...(webgpu ? SOFTWARE : [])] });
}
