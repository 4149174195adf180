/** `Database.snapshot()`: one state, to be read for as long as it is held. */
import { HarmonyError } from '../base/errors.ts'
import type { Core, CoreSnapshot } from './core.ts'
import { invalid } from './options.ts'
import { EntriesReader, type ReadSource } from './reader.ts'
import type { ReadOptions, Snapshot } from './types.ts'

export class CoreStateReader extends EntriesReader implements Snapshot {
  readonly version: string
  protected readonly source: ReadSource
  private readonly core: Core
  private readonly name: string
  private closed = false

  /** @param dbEnded Why nothing is possible any more; undefined while the database is open. */
  constructor(core: Core, { name, version }: CoreSnapshot, dbEnded: () => HarmonyError | undefined) {
    super()
    this.core = core
    this.name = name
    this.version = version
    this.source = {
      ended: () => (this.closed ? new HarmonyError('CLOSED', 'this snapshot was closed; take another one') : dbEnded()),
      getMany: (keys, options) => core.getMany(keys, { ...options, snapshot: name }),
      scan: request => {
        const { continuation } = request
        if (continuation !== undefined && continuation.snapshot !== name)
          throw invalid('a cursor goes on within the snapshot that it is of')
        return core.scan({ ...request, snapshot: name })
      },
    }
  }

  /** Lets go of the state. Does nothing where that was done. */
  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    this.core.release(this.name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  protected override reading<O extends ReadOptions>(options: O | undefined) {
    const read = super.reading(options)
    if (read.given.consistency !== undefined || read.given.maxStalenessMs !== undefined)
      throw invalid('reads of a snapshot take no consistency: they see its state')
    return read
  }
}
