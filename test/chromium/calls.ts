// Calls over a channel of binary messages: each side calls the other's functions by name and gets a promise of the result.
// Functions begin in the order of the calls, so that what is not waited for is done in order too.
import { decode, encode } from "./message.js";

/** Of plain data with typed arrays in it (message.ts). */
export type Served = Readonly<Record<string, (...args: never[]) => unknown>>;
type Message =
  | { readonly call: string; readonly id: number; readonly args: readonly unknown[] }
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly failed: { readonly message: string; readonly fault: unknown } };

/** What the other side threw. `fault`: what its error carried as data. */
export class RemoteError extends Error {
  override readonly name = "RemoteError";
  constructor(
    message: string,
    readonly fault: unknown,
  ) {
    super(message);
  }
}

export class Calls {
  readonly #waiting = new Map<number, { readonly done: (x: unknown) => void; readonly fail: (e: Error) => void }>();
  #last = 0;
  #closed: Error | undefined;
  constructor(
    readonly send: (bytes: Uint8Array) => void,
    readonly served: Served,
  ) {}

  call(name: string, ...args: readonly unknown[]): Promise<unknown> {
    if (this.#closed) return Promise.reject(this.#closed);
    const id = ++this.#last;
    return new Promise((done, fail) => {
      this.#waiting.set(id, { done, fail });
      this.#post({ call: name, id, args });
    });
  }
  /** A message of the other side. */
  async take(bytes: Uint8Array): Promise<void> {
    const m = decode(bytes) as Message; // the other side's, which is this class too
    if ("call" in m) {
      try {
        const f = this.served[m.call];
        if (!f) throw new Error(`nothing here is called ${m.call}`);
        // the names' types agree by the interface that both sides share
        const result = await (f as (...args: readonly unknown[]) => unknown)(...m.args);
        this.#post({ id: m.id, result });
      } catch (e) {
        const fault = e instanceof Error && "fault" in e ? e.fault : null;
        this.#post({ id: m.id, failed: { message: e instanceof Error ? e.message : String(e), fault } });
      }
      return;
    }
    const w = this.#waiting.get(m.id);
    this.#waiting.delete(m.id);
    if ("failed" in m) w?.fail(new RemoteError(m.failed.message, m.failed.fault));
    else w?.done(m.result);
  }
  /** Nothing will answer any more. */
  close(why: Error): void {
    this.#closed ??= why;
    for (const w of this.#waiting.values()) w.fail(this.#closed);
    this.#waiting.clear();
  }
  #post(m: Message): void {
    if (!this.#closed) this.send(encode(m));
  }
}
