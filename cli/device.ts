// Where a command runs its programs: the options that say so, the same in every command.
import { Option } from "commander";
import { ADAPTERS, type Adapter, type DeviceName } from "../trainer.js";
import { choice, integer } from "./values.js";

export interface DeviceFlags<D extends string = DeviceName | "auto"> {
  readonly device: D;
  readonly adapter?: Adapter;
  readonly threads?: number;
}
/** `devices`: those that the command can use, the first unless said. */
export const deviceOption = (...devices: readonly [string, ...string[]]): Option =>
  new Option("--device <name>", devices.join(", ")).argParser(choice(devices)).default(devices[0]);
export const adapterOption = (): Option =>
  new Option("--adapter <name>", "of webgpu: software, which runs on the processor, for tests; default: the machine's GPU").argParser(
    choice(ADAPTERS),
  );
export const threadsOption = (): Option => new Option("--threads <n>", "of the native device; default: all cores").argParser(integer(1, 1024));
