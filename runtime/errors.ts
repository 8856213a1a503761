// What can go wrong between a program and a device, as data. Every fault has one message here, which says where it is
// and what to do; devices build faults, never texts. The public functions throw the `DeviceError` they are given.
import type { DType } from "../dsl/node.js";

export type DeviceFault =
  /** No program that compiles C was found, or none of those found works. */
  | { readonly kind: "NoCompiler"; readonly tried: readonly { readonly command: string; readonly reason: string }[] }
  /** The text of CC cannot be split into a program and its arguments. */
  | { readonly kind: "BadCommand"; readonly command: string; readonly reason: string }
  /** `file`: a copy of the unit's source that was kept, or null where none could be written. */
  | { readonly kind: "CompileFailed"; readonly unit: string; readonly file: string | null; readonly stderr: string }
  /** The target cannot print a kernel of the plan; its message says which and why. */
  | { readonly kind: "Target"; readonly target: string; readonly kernel: string; readonly message: string }
  | { readonly kind: "Unsupported"; readonly reason: string; readonly todo: string }
  | { readonly kind: "UnsafeFolder"; readonly folder: string; readonly path: string; readonly reason: string; readonly todo: string }
  | { readonly kind: "CacheFailed"; readonly folder: string; readonly reason: string }
  | { readonly kind: "LoadFailed"; readonly file: string; readonly reason: string }
  | { readonly kind: "OutOfMemory"; readonly what: string; readonly bytes: number }
  | { readonly kind: "Disposed"; readonly what: string }
  | { readonly kind: "MissingInput"; readonly name: string; readonly expected: string }
  | { readonly kind: "UnknownInput"; readonly name: string; readonly known: readonly string[] }
  /** `expected`: the axes with their sizes. */
  | { readonly kind: "InputLength"; readonly name: string; readonly expected: string; readonly elements: number; readonly got: number }
  | { readonly kind: "InputValue"; readonly name: string; readonly at: number; readonly value: unknown; readonly dtype: DType }
  | { readonly kind: "Extent"; readonly axis: string; readonly max: number; readonly got: number | undefined }
  | { readonly kind: "UnknownState"; readonly path: string; readonly known: readonly string[] }
  | { readonly kind: "StateMismatch"; readonly path: string; readonly expected: string; readonly got: string }
  | { readonly kind: "ForeignState" }
  | { readonly kind: "BadOption"; readonly option: string; readonly value: string; readonly expected: string }
  | { readonly kind: "RunFailed"; readonly reason: string }
  /** An optional package that a device needs. */
  | { readonly kind: "MissingPackage"; readonly device: string; readonly name: string; readonly install: string; readonly reason: string }
  /** There is no GPU that the device could use. */
  | { readonly kind: "NoAdapter"; readonly device: string; readonly reason: string; readonly todo: string }
  /** A GPU that was there is not any more (unplugged, reset, a driver that crashed or gave up on a kernel; `destroyed`: given up by
   *  this program), and all memory with it. */
  | { readonly kind: "DeviceLost"; readonly device: string; readonly reason: "destroyed" | "unknown"; readonly message: string }
  /** The GPU's driver does not take what was compiled for it. */
  | { readonly kind: "Refused"; readonly device: string; readonly what: string; readonly message: string }
  /** The program is more than this device can hold or compute. */
  | { readonly kind: "CannotHold"; readonly device: string; readonly reason: string; readonly todo: string }
  /** An integer that a device with f32 alone would round. */
  | {
      readonly kind: "InexactInteger";
      readonly device: string;
      readonly name: string;
      readonly at: number;
      readonly value: number;
      readonly limit: number;
    };

export class DeviceError extends Error {
  override readonly name = "DeviceError";
  constructor(readonly fault: DeviceFault) {
    super(describe(fault));
  }
  get kind(): DeviceFault["kind"] {
    return this.fault.kind;
  }
}

const INSTALL = "install a C compiler (Debian: apt install gcc libc6-dev; macOS: xcode-select --install), or run with --device gpujs";
const list = (names: readonly string[]) => (names.length === 0 ? "it has none" : `it has ${names.map((n) => `"${n}"`).join(", ")}`);
const VALUES: Record<DType, string> = {
  f32: "a number",
  f64: "a number",
  bf16: "a number",
  f16: "a number",
  i32: "an integer from -2147483648 to 2147483647",
  bool: "0 or 1",
};

function describe(f: DeviceFault): string {
  switch (f.kind) {
    case "NoCompiler":
      return `no usable C compiler: ${f.tried.map((t) => `${t.command}: ${t.reason}`).join("; ")}. To go on, ${INSTALL}`;
    case "BadCommand":
      return `CC is not a command: ${f.reason} in ${JSON.stringify(f.command)}. Write a program and its arguments, for instance CC="ccache gcc", and quote a path that has spaces`;
    case "CompileFailed": {
      const headers = /fatal error: \S+\.h|cannot find (-l|crt)|unable to find library/.test(f.stderr);
      const todo = headers
        ? "the C library's headers seem to be missing (Debian: apt install libc6-dev; macOS: xcode-select --install)"
        : "try another compiler with CC=clang or CC=gcc, or run with --device gpujs; if none takes it, this is a defect of Mallard: please report it with that file";
      return `the C compiler refused unit ${f.unit}${f.file ? ` (kept as ${f.file})` : ""}: ${todo}\n${head(f.stderr, 30)}`;
    }
    case "Target":
      return f.message;
    case "Unsupported":
      return `the native device does not work here: ${f.reason}. To go on, ${f.todo}`;
    case "UnsafeFolder":
      return `the kernel cache ${f.folder} is not safe to load code from: ${f.path} ${f.reason}. To go on, ${f.todo}`;
    case "CacheFailed":
      return `the kernel cache ${f.folder} cannot be used: ${f.reason}. Name another folder with MALLARD_CACHE`;
    case "LoadFailed":
      return `the compiled kernels ${f.file} cannot be loaded: ${f.reason}. If the folder's file system forbids execution, name another with MALLARD_CACHE; else delete it and run again`;
    case "OutOfMemory":
      return `out of memory: ${f.what} needs ${(f.bytes / 2 ** 20).toFixed(1)} MiB. Use a smaller batch or model, or free states and programs with dispose()`;
    case "Disposed":
      return `${f.what} was used after it was disposed: keep it (or its "using" block) alive until the last run has ended`;
    case "MissingInput":
      return `input "${f.name}" is missing or is not an array: expected ${f.expected}`;
    case "UnknownInput":
      return `the program has no input "${f.name}": ${list(f.known)}`;
    case "InputLength":
      return `"${f.name}": expected ${f.expected}, ${f.elements} elements in row-major order, got ${f.got}`;
    case "InputValue":
      return `"${f.name}": element ${f.at} is ${String(f.value)}, but its type ${f.dtype} needs ${VALUES[f.dtype]}`;
    case "Extent":
      return `axis ${f.axis}: its run-time extent must be an integer from 0 to ${f.max}, got ${f.got === undefined ? "none" : String(f.got)}`;
    case "UnknownState":
      return `the state has no "${f.path}": ${list(f.known)}`;
    case "StateMismatch":
      return `state "${f.path}": the program needs ${f.expected}, the state holds ${f.got}`;
    case "ForeignState":
      return "this state belongs to another device: allocate it with the device that compiled the program";
    case "BadOption":
      return `${f.option} is ${JSON.stringify(f.value)}: expected ${f.expected}`;
    case "RunFailed":
      return `the kernels did not run: ${f.reason}`;
    case "MissingPackage":
      return `the ${f.device} device needs the package ${f.name}, which cannot be loaded (${f.reason}). To go on, ${f.install}`;
    case "NoAdapter":
      return `the ${f.device} device finds no GPU: ${f.reason}. To go on, ${f.todo}`;
    case "DeviceLost":
      return `the ${f.device} device was lost: ${f.message.trimEnd() || "the driver gives no reason"}. Weights and states on it are gone; what was saved is whole. To go on, ${
        f.reason === "destroyed"
          ? "open the device again"
          : "open the device again (a training run: --resume); if it happens again, use a smaller batch, close what else uses the GPU or update its driver"
      }`;
    case "Refused":
      return `${f.device} refuses ${f.what}: this is a defect of Mallard or of the GPU's driver; please report it, and use the native device meanwhile\n${head(f.message, 30)}`;
    case "CannotHold":
      return `the ${f.device} device cannot run this program: ${f.reason}. To go on, ${f.todo}`;
    case "InexactInteger":
      return `"${f.name}": element ${f.at} is ${f.value}, but the ${f.device} device holds integers exactly only up to ${f.limit}. To go on, use smaller values or the native device`;
  }
}

const head = (text: string, lines: number): string => {
  const all = text.trimEnd().split("\n");
  return all.length <= lines ? all.join("\n") : [...all.slice(0, lines), `… ${all.length - lines} more lines`].join("\n");
};
