// Ctrl-C and termination. The first signal asks for a stop: the running step ends, a checkpoint is written, the command
// exits with 128 + the signal's number. A second one quits at once; files are written whole or not at all, so even
// that leaves nothing half-written.
import { constants } from "node:os";

export interface Interrupt {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** 130 after SIGINT, 143 after SIGTERM; null before any. */
  readonly exitCode: number | null;
  [Symbol.dispose](): void;
}

/** A Ctrl-C at a terminal may arrive twice, from the terminal and through npm: signals this close are one request. */
const TOGETHER_MS = 250;

/** `notify` is called at the first signal, with the exit code that it calls for. */
export function onInterrupt(notify: (exitCode: number) => void): Interrupt {
  const controller = new AbortController();
  let exitCode: number | null = null;
  let first = 0;
  const handle = (name: NodeJS.Signals): void => {
    const code = 128 + constants.signals[name];
    const now = Date.now();
    if (exitCode === null) {
      exitCode = code;
      first = now;
      notify(code);
      controller.abort();
    } else if (now - first > TOGETHER_MS) {
      process.exit(code);
    }
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const name of signals) process.on(name, handle);
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    [Symbol.dispose]() {
      for (const name of signals) process.off(name, handle);
    },
  };
}
