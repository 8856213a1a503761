// Where a WebGPU adapter comes from in Node: the package `webgpu` (Dawn), an optional peer, over Vulkan, Metal or Direct3D 12.
// Hosts that have navigator.gpu themselves are asked there. The software adapter is SwiftShader, which an installed Chromium
// brings for its own use: its Vulkan loader is taken into the process, and pointed at its driver while the adapter is made.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Either, left, right } from "fp-ts/lib/Either.js";
import { DeviceError } from "../../errors.js";
import { type FoundAdapter, type Gpu, ownGpu } from "./gpu.js";

/** undefined: the machine's GPU. */
export type AdapterChoice = "software" | undefined;
type Found = Either<DeviceError, FoundAdapter>;

const none = (reason: string, todo: string): Found => left(new DeviceError({ kind: "NoAdapter", device: "webgpu", reason, todo }));
const textOf = (e: unknown): string => (e instanceof Error ? (e.message.split("\n")[0] ?? "") : String(e));
const INSTEAD = "or use the native or the gpujs device";

export async function findAdapter(choice: AdapterChoice): Promise<Found> {
  if (choice !== undefined && choice !== "software")
    return left(new DeviceError({ kind: "BadOption", option: "adapter", value: String(choice), expected: '"software", or none for the GPU' }));
  const own = ownGpu();
  if (own && choice === undefined) {
    const adapter = await own.requestAdapter({ powerPreference: "high-performance" });
    return adapter
      ? right({ adapter, from: own })
      : none("this host's navigator.gpu has no adapter", `see whether a GPU's driver is installed, ${INSTEAD}`);
  }
  const dawn = await loadDawn();
  if (dawn._tag === "Left") return dawn;
  return choice === "software" ? software(dawn.right) : hardware(dawn.right);
}

type Create = (flags: readonly string[]) => Gpu;
async function loadDawn(): Promise<Either<DeviceError, Create>> {
  try {
    const { create } = await import("webgpu");
    // The package brands each kind of handle, which we pass on without looking: its type and ours have the same calls.
    return right((flags) => create([...flags]) as unknown as Gpu);
  } catch (e) {
    return left(
      new DeviceError({
        kind: "MissingPackage",
        device: "webgpu",
        name: "webgpu",
        install: "install it: npm i webgpu",
        reason: textOf(e),
      }),
    );
  }
}

/** On Linux Dawn needs Vulkan's loader, and where there is none it writes a warning of its own. */
async function vulkan(): Promise<boolean> {
  if (process.platform !== "linux") return true;
  try {
    const { default: koffi } = await import("koffi");
    koffi.load(LOADER);
    return true;
  } catch {
    return false;
  }
}
const NO_GPU = "(on Linux it needs Vulkan's loader and a driver: libvulkan1, mesa-vulkan-drivers)";
const INSTALL = `install them, take the software adapter (adapter: "software", of commands --adapter software; an installed Chromium has it), ${INSTEAD}`;

async function hardware(create: Create): Promise<Found> {
  if (!(await vulkan())) return none(`there is no ${LOADER} ${NO_GPU}`, INSTALL);
  let adapter: FoundAdapter["adapter"] | null;
  const from = create([]);
  try {
    adapter = await from.requestAdapter({ powerPreference: "high-performance" });
  } catch (e) {
    return none(textOf(e), `install the driver of your GPU, ${INSTEAD}`);
  }
  return adapter ? right({ adapter, from }) : none(`Dawn found no GPU ${NO_GPU}`, INSTALL);
}

/** Where Chromium and Chrome put it; MALLARD_SWIFTSHADER names another folder. */
const FOLDERS = [
  "/usr/lib/chromium",
  "/usr/lib/chromium-browser",
  "/usr/lib64/chromium-browser",
  "/opt/google/chrome",
  "/snap/chromium/current/usr/lib/chromium-browser",
];
const [LOADER, DRIVER] = ["libvulkan.so.1", "vk_swiftshader_icd.json"];
const VARIABLES = ["VK_ICD_FILENAMES", "VK_DRIVER_FILES"] as const;

async function software(create: Create): Promise<Found> {
  const folders = process.env.MALLARD_SWIFTSHADER ? [process.env.MALLARD_SWIFTSHADER] : FOLDERS;
  const folder = folders.find((f) => existsSync(join(f, DRIVER)));
  if (!folder)
    return none(
      `no SwiftShader was found: no ${DRIVER} in ${folders.join(", ")}`,
      `install Chromium (Debian: apt install chromium), name the folder that has it with MALLARD_SWIFTSHADER, ${INSTEAD}`,
    );
  const before = VARIABLES.map((name) => [name, process.env[name]] as const);
  try {
    const { default: koffi } = await import("koffi");
    if (existsSync(join(folder, LOADER))) koffi.load(join(folder, LOADER));
    for (const name of VARIABLES) process.env[name] = join(folder, DRIVER);
    // SwiftShader clears workgroup memory word by word, in code: half a second of compilation a kernel. Ours read what they wrote.
    const from = create(["backend=vulkan", "enable-dawn-features=disable_workgroup_init"]);
    const adapter = await from.requestAdapter();
    return adapter ? right({ adapter, from }) : none(`SwiftShader in ${folder} gives no adapter`, `reinstall Chromium, ${INSTEAD}`);
  } catch (e) {
    return none(`SwiftShader in ${folder} does not work: ${textOf(e)}`, `reinstall Chromium, ${INSTEAD}`);
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}
