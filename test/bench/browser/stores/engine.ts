/** An engine in a page or a worker: its code is loaded, and it opens stores by name. */
import type { Store } from '../../stores/store.ts'

export interface Engine {
  /** A store of this origin, empty or as it was left. */
  open(name: string): Promise<Store<Uint8Array>>
}

/** In another turn of the event loop; `setTimeout` would wait for milliseconds. */
export function soon(run: () => void): void {
  const { port1, port2 } = new MessageChannel()
  port1.onmessage = () => {
    port1.close()
    run()
  }
  port2.postMessage(undefined)
}

/** What crosses to another realm takes its whole buffer along: a key is a view into that of all keys. */
export const ownKeys = <Row extends { readonly key: Uint8Array }>(rows: readonly Row[]): Row[] =>
  rows.map(row => ({ ...row, key: row.key.slice() }))

/** A package as its authors built it, from where the benchmark's server has it. */
export const loadPackage = async <T>(path: string): Promise<T> => (await import(`/packages/${path}`)) as T
