/** What the benchmark of storage asks of an engine, through the engine's own public interface and in its own natural shape. */
export interface Row {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

/** Synchronous engines answer at once, others by a promise. Keys and values may be kept: nobody changes them. */
export interface Store {
  /** Done when it is durable: a power cut takes nothing away. */
  put(key: Buffer, value: Buffer): unknown
  /** For many callers at once, where the engine has no way of its own to bring them together and a program would have to. */
  readonly putTogether?: (key: Buffer, value: Buffer) => unknown
  /** The caller's own copy. */
  get(key: Buffer): Uint8Array | undefined | Promise<Uint8Array | undefined>
  /** Keys and values, materialised, in whatever shape: `row` reads it. */
  scan(start: Buffer, limit: number): readonly unknown[] | Promise<readonly unknown[]>
  row(scanned: unknown): Row
  /** All in one, durable. */
  batch(rows: readonly { readonly key: Buffer; readonly value: Buffer }[]): unknown
  close(): unknown
}

export interface OpenedFrom {
  /** Empty or as a store of this engine left it. */
  readonly dir: string
  /** The checkout. */
  readonly root: string
  /** Of HarmonyDB: what is imported. */
  readonly modulePath: string
}

/** What many callers put in one turn of the event loop goes to `write` together; all are done when it returns. */
export function together(
  write: (rows: readonly { key: Buffer; value: Buffer }[]) => void,
): (key: Buffer, value: Buffer) => Promise<void> {
  let rows: { key: Buffer; value: Buffer }[] = []
  let waiting: { resolve: () => void; reject: (error: unknown) => void }[] = []
  const flush = (): void => {
    const [written, done] = [rows, waiting]
    rows = []
    waiting = []
    try {
      write(written)
    } catch (error) {
      for (const { reject } of done) reject(error)
      return
    }
    for (const { resolve } of done) resolve()
  }
  return (key, value) =>
    new Promise((resolve, reject) => {
      if (rows.length === 0) setImmediate(flush)
      rows.push({ key, value })
      waiting.push({ resolve, reject })
    })
}

/** It is no fault of the benchmark: a reason to leave the engine out, with what to do about it. */
export class NotInstalled extends Error {}
