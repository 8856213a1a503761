// The worker: everything that computes, so that the page stays responsive. The page calls its methods by Comlink; what goes
// wrong comes back as a value.
import { openSession } from "@mallard-lang/mallard";
import { generate, type Metrics, type Problem, type ProgramInfo, problem, TextStream, textOf } from "@mallard-lang/mallard/trainer";
import * as Comlink from "comlink";
import { type Either, isLeft, right } from "fp-ts/lib/Either.js";
import { DEVICES, type DeviceName, type Settings } from "../settings.js";
import type { AttentionMap } from "./attention.js";
import { type KernelList, stepKernels, VARIANT_TITLES, variantKernels } from "./kernels.js";
import { modelOf } from "./model.js";
import { Run, type Text } from "./run.js";
import { variants } from "./variants.js";

const VALIDATION_SHARE = 0.05;

export interface Prepared {
  readonly info: ProgramInfo;
  /** Steps done before. */
  readonly step: number;
}
let run: Run | undefined;
let broken = false;
let text: Text | undefined;
let stop = new AbortController();

const api = {
  /** By device, why it does not work here; null where it does. */
  async devices(): Promise<Readonly<Record<DeviceName, string | null>>> {
    const found: Record<DeviceName, string | null> = { webgpu: null, gpujs: null };
    for (const name of DEVICES) {
      const opened = await openSession(name);
      if (isLeft(opened)) found[name] = opened.left.message;
      else opened.right[Symbol.dispose]();
    }
    return found;
  },
  /** What the form says of each variant. */
  variants: () => Object.entries(variants).map(([name, { title, about, interventions }]) => ({ name, title, about, interventions })),

  /** Bytes to train on; the last 5 % are kept for validation. */
  setText(bytes: Uint8Array): void {
    const cut = bytes.length - Math.floor(bytes.length * VALIDATION_SHARE);
    text = { train: bytes.subarray(0, cut), validation: bytes.subarray(cut) };
  },

  /** Compiles what the settings ask for, unless it is there. */
  async prepare(settings: Settings): Promise<Either<Problem, Prepared>> {
    try {
      if (run && (broken || !run.fits(settings))) {
        // Its memory first: both may be more than there is. What cannot be opened anew now may be at the next try.
        run[Symbol.dispose]();
        const again = broken && run.fits(settings) ? await run.reopened() : null;
        if (again && isLeft(again)) return again;
        run = again?.right;
        broken = false;
      }
      if (!run) {
        const opened = await Run.open(settings);
        if (isLeft(opened)) return opened;
        run = opened.right;
      }
      return right({ info: run.program.info, step: run.step });
    } catch (thrown) {
      return problem("device", textOf(thrown), "choose another device");
    }
  },
  async train(settings: Settings, report: (line: Metrics) => void): Promise<Either<Problem, { readonly step: number }>> {
    if (!run || !text) return problem("usage", "there is nothing to train", "prepare a run and give a text");
    const least = Math.ceil((settings.time + 2) / VALIDATION_SHARE);
    if (text.train.length + text.validation.length < least)
      return problem("usage", `the text is too short for sequences of ${settings.time} bytes`, `give at least ${least} bytes`);
    stop = new AbortController();
    const done = await run.train(settings, text, stop.signal, report);
    broken = isLeft(done);
    return done;
  },
  /** Ends training after the running step. */
  stop: () => stop.abort(),
  /** Forgets the run: the next begins with its first weights. */
  reset(): void {
    run?.[Symbol.dispose]();
    run = undefined;
    broken = false;
  },

  async attention(prompt: string): Promise<Either<Problem, AttentionMap>> {
    if (!run || broken) return problem("usage", "there is no model", "prepare a run");
    try {
      return right(await (await run.maps()).of(prompt));
    } catch (thrown) {
      return problem("device", textOf(thrown), "train anew");
    }
  },
  /** Goes on with the prompt. */
  async write(prompt: string, bytes: number, said: (more: string) => void): Promise<Either<Problem, void>> {
    if (!run || broken) return problem("usage", "there is no model", "prepare a run");
    try {
      const stream = new TextStream();
      const { time } = modelOf(run.settings);
      for await (const byte of generate(run.program, time, new TextEncoder().encode(prompt), bytes, { temperature: 0.8, topK: 40, seed: run.step }))
        said(stream.push(byte));
      said(stream.end());
      return right(undefined);
    } catch (thrown) {
      return problem("device", textOf(thrown), "train anew");
    }
  },

  kernels(of: string): Either<Problem, KernelList> {
    try {
      if (of !== "") return variantKernels(of);
      return run && !broken ? stepKernels(run.program) : problem("usage", "in WGSL, as soon as there is a model", "press Train, or choose a variant");
    } catch (thrown) {
      return problem("expression", textOf(thrown), "another variant may be printed");
    }
  },
  /** Variants whose kernels can be shown without training. */
  gallery: () => VARIANT_TITLES,
};
export type WorkerApi = typeof api;
Comlink.expose(api);
