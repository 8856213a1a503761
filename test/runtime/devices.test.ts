// Devices by name: what one of them alone can be told is refused by the others, rather than ignored.
import * as E from "fp-ts/lib/Either.js";
import { expect, test } from "vitest";
import { type DeviceName, type DeviceOptions, devices } from "../../runtime/devices/index.js";

const own: readonly (readonly [DeviceName, DeviceOptions])[] = [
  ["native", { tune: true }],
  ["gpujs", { mode: "cpu" }],
  ["webgpu", { adapter: "software" }],
];
const names = Object.keys(devices) as readonly DeviceName[];

test.each(own.flatMap(([of, o]) => names.filter((name) => name !== of).map((name) => [name, o, of] as const)))(
  "%s with %o, which is for %s",
  async (name, o, of) => {
    const opened = await devices[name](o);
    expect(E.isLeft(opened) && opened.left.fault).toMatchObject({ kind: "BadOption", option: Object.keys(o)[0], value: name });
    expect(E.isLeft(opened) && opened.left.message).toContain(`${of}: the only device`);
  },
);
