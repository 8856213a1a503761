// What the benchmark asks of a page: to open one system's attention or step, to run it for a while, to say what a run asks of
// WebGPU. Every system is timed alike: a run has ended when the device's queue is empty.
import { counted, startPeak, whenDone } from "./counts.js";

/** null: none. */
export async function adapter() {
  const found = await navigator.gpu?.requestAdapter();
  return found ? [found.info.vendor, found.info.architecture, found.info.device, found.info.description].filter(Boolean).join(" ") : null;
}

const fetched = async (name, type) => new type(await (await fetch(`/data/${name}`)).arrayBuffer());
let run;

/** `module` is one system; `given` has sizes, `arrays` names of data and their types. Gives the number of parameters, and ms of the
 *  first run, in which kernels compile. */
export async function open(module, what, given, arrays, form) {
  const types = { f32: Float32Array, i32: Int32Array };
  const data = Object.fromEntries(await Promise.all(Object.entries(arrays).map(async ([name, type]) => [name, await fetched(name, types[type])])));
  const { normal: all, ...rest } = data;
  let at = 0;
  const normal = (n) => {
    at += n;
    return all.slice(at - n, at);
  };
  const start = performance.now();
  const system = await (await import(module))[what]({ ...given, ...rest, normal }, form);
  run = system.run;
  return { parameters: system.parameters ?? 0, ms: performance.now() - start };
}
async function once() {
  const result = await run(false);
  await whenDone();
  return result;
}
/** What a run gives; arrays as bytes of f32 in base 64. */
export async function result() {
  const found = await run(true);
  if (typeof found === "number") return found;
  const text = (a) => {
    const bytes = new Uint8Array(Float32Array.from(a).buffer);
    let out = "";
    for (let i = 0; i < bytes.length; i += 4096) out += String.fromCharCode(...bytes.subarray(i, i + 4096));
    return btoa(out);
  };
  return Object.fromEntries(Object.entries(found).map(([name, a]) => [name, text(a)]));
}
/** Seconds of each run, as many as fit, one at least. */
export async function slice(seconds) {
  const out = [];
  const end = performance.now() + seconds * 1e3;
  for (let start = performance.now(); out.length < 1 || start < end; ) {
    await once();
    const after = performance.now();
    out.push((after - start) / 1e3);
    start = after;
  }
  return out;
}
/** Of one run, the caches warm. */
export async function counts() {
  const before = counted();
  startPeak();
  await once();
  const { peakBytes, ...after } = counted();
  return { ...Object.fromEntries(Object.entries(after).map(([name, n]) => [name, n - before[name]])), peakBytes };
}
