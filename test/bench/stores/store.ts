/** What the benchmark of storage asks of an engine, through the engine's own public interface and in its own natural shape. */
export interface Row {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

/** What becomes of the values of some keys, in their order. Called again by an engine that tries a transaction again. */
export type Change<B extends Uint8Array> = (values: readonly (Uint8Array | undefined)[]) => readonly B[]

/** Reads these keys and puts what `change` makes of them: one serializable transaction, durable. */
export type Transact<B extends Uint8Array> = (keys: readonly B[], change: Change<B>) => unknown

/** Synchronous engines answer at once, others by a promise. Keys and values may be kept: nobody changes them. */
export interface Store<B extends Uint8Array = Buffer> {
  /** Done when it is durable: a power cut takes nothing away. */
  put(key: B, value: B): unknown
  /** For many callers at once, where the engine has no way of its own to bring them together and a program would have to. */
  readonly putTogether?: (key: B, value: B) => unknown
  /** The caller's own copy. */
  get(key: B): Uint8Array | undefined | Promise<Uint8Array | undefined>
  /** Keys and values, materialised, in whatever shape: `row` reads it. */
  scan(start: B, limit: number): readonly unknown[] | Promise<readonly unknown[]>
  row(scanned: unknown): Row
  /** All in one, durable. */
  batch(rows: readonly { readonly key: B; readonly value: B }[]): unknown
  /** Undefined: the suite `transactions` goes without this engine. */
  readonly transact?: Transact<B>
  /** How often one of its transactions has waited for a lock. Undefined: it does not tell. */
  readonly lockWaits?: () => number | undefined
  close(): unknown
}

export interface OpenedFrom {
  /** Empty or as a store of this engine left it. */
  readonly dir: string
  /** The checkout. */
  readonly root: string
  /** The most that the engine may keep in memory of its data, where it can be told; else its default. */
  readonly cacheBytes?: number
  /** Of HarmonyDB: what is imported. */
  readonly modulePath: string
}

type Rows<B> = readonly { readonly key: B; readonly value: B }[]

/**
 * What many callers put in one turn of the event loop, or while the write before is under way, goes to `write` together; they are done
 * when it is.
 * @param soon Calls in another turn.
 */
export function together<B extends Uint8Array>(
  write: (rows: Rows<B>) => unknown,
  soon: (run: () => void) => void,
): (key: B, value: B) => Promise<void> {
  let rows: { key: B; value: B }[] = []
  let waiting: { resolve: () => void; reject: (error: unknown) => void }[] = []
  let isWriting = false
  const flush = async (): Promise<void> => {
    const [written, done] = [rows, waiting]
    rows = []
    waiting = []
    isWriting = true
    try {
      const result = write(written)
      if (result instanceof Promise) await result
      for (const { resolve } of done) resolve()
    } catch (error) {
      for (const { reject } of done) reject(error)
    }
    isWriting = false
    if (rows.length > 0) soon(flush)
  }
  return (key, value) =>
    new Promise((resolve, reject) => {
      if (rows.length === 0 && !isWriting) soon(flush)
      rows.push({ key, value })
      waiting.push({ resolve, reject })
    })
}

/** It is no fault of the benchmark: a reason to leave the engine out, with what to do about it. */
export class NotInstalled extends Error {}
